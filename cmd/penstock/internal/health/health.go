// Package health answers those who ask whether the process lives and works.
package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Probe serves /livez, 200 as long as the process runs, and /readyz, 200 since SetReady and 503 before and while stopping.
type Probe struct{ ready atomic.Bool }

// SetReady says that the work has begun.
func (p *Probe) SetReady() { p.ready.Store(true) }

// Listen opens addr.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return l, nil
}

// Limits of the server.
const (
	headerTimeout = 5 * time.Second
	idleTimeout   = 60 * time.Second
	stopTimeout   = 2 * time.Second
)

// Serve answers on l until ctx is done.
func (p *Probe) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: p.handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		p.ready.Store(false)
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		if s.Shutdown(end) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if !stop() {
		<-stopped
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (p *Probe) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !p.ready.Load() {
			http.Error(w, "no partition is processed yet", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	return mux
}
