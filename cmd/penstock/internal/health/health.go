// Package health serves what those who watch the process ask for.
package health

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"
)

// Server is a handler at an address.
type Server struct {
	Handler http.Handler
	// Token is asked for as "Authorization: Bearer TOKEN" by all but the probes /livez and /readyz, and by Open. Empty: nobody is asked.
	Token string
	// Open are patterns of the Handler that nobody is asked a token for: what they answer tells nothing.
	Open []string
	// Pprof adds /debug/pprof/, which shows memory: not for a network that others use.
	Pprof bool
}

// Listen opens addr, by TLS unless secure is nil.
func Listen(addr string, secure *tls.Config) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve http at %s: %w", addr, err)
	}
	if secure != nil {
		return tls.NewListener(l, secure), nil
	}
	return l, nil
}

// Limits of the server.
const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 60 * time.Second
	stopTimeout   = 2 * time.Second
	headerBytes   = 64 << 10
)

// Serve answers on l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s.routes(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytes}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if server.Shutdown(end) != nil {
			server.Close()
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/livez", s.Handler)
	mux.Handle("/readyz", s.Handler)
	for _, pattern := range s.Open {
		mux.Handle(pattern, s.Handler)
	}
	mux.Handle("/", s.guard(s.Handler))
	if s.Pprof {
		mux.Handle("GET /debug/pprof/", s.guard(http.HandlerFunc(pprof.Index)))
		mux.Handle("GET /debug/pprof/profile", s.guard(http.HandlerFunc(pprof.Profile)))
		mux.Handle("GET /debug/pprof/trace", s.guard(http.HandlerFunc(pprof.Trace)))
		mux.Handle("GET /debug/pprof/symbol", s.guard(http.HandlerFunc(pprof.Symbol)))
	}
	return mux
}

func (s *Server) guard(h http.Handler) http.Handler {
	if s.Token == "" {
		return h
	}
	want := sha256.Sum256([]byte(s.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is needed", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}
