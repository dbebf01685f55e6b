package telemetry

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves /livez, /readyz, /metrics and /api/v1/status.
func (m *Monitor) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		s := m.Status()
		answer(w, s.Live, s.Reasons)
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := m.Status()
		answer(w, s.Ready, s.Reasons)
	})
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		_ = e.Encode(m.Status()) // the reader is gone
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m, promhttp.HandlerOpts{}))
	return mux
}

func answer(w http.ResponseWriter, ok bool, reasons []string) {
	if ok {
		_, _ = io.WriteString(w, "ok\n")
		return
	}
	http.Error(w, strings.Join(reasons, "\n"), http.StatusServiceUnavailable)
}
