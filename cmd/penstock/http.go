package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/health"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
)

// httpFlags are those of a command that is watched over HTTP.
type httpFlags struct {
	http     string
	httpCert string
	httpKey  string
	token    string
}

// flags declares them: what is said of the address, and what asks for the token.
func (f *httpFlags) flags(fs *pflag.FlagSet, address, guarded string) {
	fs.StringVar(&f.http, "http", "", address)
	fs.StringVar(&f.httpCert, "http-tls-cert", "", "PEM file of the certificate to serve by TLS with; read again when it changes")
	fs.StringVar(&f.httpKey, "http-tls-key", "", "PEM file of its key")
	fs.StringVar(&f.token, "http-token", "", "bearer token that "+guarded)
	settings.Secret(fs, "http-token")
}

// httpTLS is nil where HTTP is plain.
func (f *httpFlags) httpTLS(warn func(error)) (*tls.Config, error) {
	if f.httpCert == "" && f.httpKey == "" {
		return nil, nil
	}
	files, err := tlsfiles.Open(tlsfiles.Files{Cert: f.httpCert, Key: f.httpKey}, warn)
	if err != nil {
		return nil, fmt.Errorf("http-tls-cert, http-tls-key: %w", err)
	}
	return files.Server(), nil
}

// listen opens the address; secure says by TLS.
func (f *httpFlags) listen(p *program) (l net.Listener, secure bool, err error) {
	config, err := f.httpTLS(func(err error) { p.logger.Warn(err.Error()) })
	if err != nil {
		return nil, false, usage(err)
	}
	l, err = health.Listen(f.http, config)
	if err == nil {
		p.logger.Info("http", "address", l.Addr().String(), "tls", config != nil)
	}
	return l, config != nil, err
}

// believing returns a client that believes the authorities in a PEM file, which is read again when it changes; nil, for the
// default, where no file is given. It follows no redirects: the bearer token goes nowhere else.
func believing(ca string, warn func(error)) (*http.Client, error) {
	if ca == "" {
		return nil, nil
	}
	files, err := tlsfiles.Open(tlsfiles.Files{CA: ca}, warn)
	if err != nil {
		return nil, fmt.Errorf("http-tls-ca: %w", err)
	}
	return asking(files.Dial), nil
}

// believingHolder returns a client that believes who shows the certificate in a PEM file: this machine's run, if it serves with it.
func believingHolder(cert string) (*http.Client, error) {
	dial, err := tlsfiles.DialHolder(cert)
	if err != nil {
		return nil, fmt.Errorf("http-tls-cert: %w", err)
	}
	return asking(dial), nil
}

func asking(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DialTLSContext: dial, MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// serve answers with a handler at the address, where one is given, until the function is called that it returns.
func (f *httpFlags) serve(ctx context.Context, p *program, h http.Handler) (stop func(), err error) {
	if f.http == "" {
		return func() {}, nil
	}
	l, _, err := f.listen(p)
	if err != nil {
		return nil, err
	}
	logger := p.logger
	serving, end := context.WithCancel(context.WithoutCancel(ctx)) // probes are answered to the end
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := (&health.Server{Handler: h, Token: f.token}).Serve(serving, l); err != nil {
			logger.Error("http ended", "error", err)
		}
	}()
	return func() { end(); <-ended }, nil
}

// counted is what a command answers that has nothing but counters: they, that it lives, and whether it is ready.
func counted(ready func() bool, of ...prometheus.Collector) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(of...)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}
