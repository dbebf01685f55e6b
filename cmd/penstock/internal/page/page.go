// Package page is what a person sees at the address of --http: a page, embedded and without an outside asset, that follows
// one process by server-sent events and changes nothing.
//
//	sample.go   the status, looked at every second, and the hour behind it
//	events.go   the stream of both
//	page.go     the page itself, and the answers to single questions
package page

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"path"
	"slices"
	"time"

	"github.com/penstock/penstock/processor/engine"
)

// Page shows a process. Its functions are asked from several goroutines.
type Page struct {
	Status func() engine.Status
	// Config is the configuration in force, secrets hidden.
	Config any
	// State is the name of the state that a session's sum is kept in.
	State string
	// Owners and Updates ask the brokers, one question of each kind at a time.
	Owners  func(context.Context) ([]Owner, error)
	Updates func(ctx context.Context, session string) ([]Update, error)

	samples *sampler
	owners  gate
	updates gate
}

// Owner is who owns which partitions of the input.
type Owner struct {
	Instance   string  `json:"instance"`
	Host       string  `json:"host"`
	Partitions []int32 `json:"partitions"`
}

// Update is one that was committed for a session.
type Update struct {
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp int64  `json:"timestamp"` // Unix milliseconds
	Value     string `json:"value"`     // as it was written
}

//go:embed assets
var assets embed.FS

// policy lets the page load what is its own, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// files are the page's, by pattern. They hold no data.
var files = map[string]string{
	"GET /{$}":      "page.html",
	"GET /page.css": "page.css",
	"GET /page.js":  "page.js",
	"GET /icon.svg": "icon.svg",
}

// Open are the patterns that may be served to anybody: the page without data.
func Open() []string { return slices.Sorted(maps.Keys(files)) }

// Patterns are all that the handler answers.
func Patterns() []string {
	return append(Open(), "GET /api/v1/events", "GET /api/v1/config", "GET /api/v1/owners", "GET /api/v1/updates")
}

// Handler serves the page and what it asks for. Streams end with ctx.
func (p *Page) Handler(ctx context.Context) http.Handler {
	p.samples = newSampler(p.Status)
	p.owners.busy, p.updates.busy = make(chan struct{}, 1), make(chan struct{}, 1)
	go p.samples.run(ctx)
	mux := http.NewServeMux()
	for pattern, name := range files {
		mux.Handle(pattern, file(name))
	}
	mux.Handle("GET /api/v1/events", &stream{ctx: ctx, samples: p.samples, room: make(chan struct{}, maxStreams)})
	mux.HandleFunc("GET /api/v1/config", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"state": p.State, "settings": p.Config}, nil)
	})
	mux.HandleFunc("GET /api/v1/owners", func(w http.ResponseWriter, r *http.Request) {
		p.owners.do(w, r, func(ctx context.Context) (any, error) { return p.Owners(ctx) })
	})
	mux.HandleFunc("GET /api/v1/updates", func(w http.ResponseWriter, r *http.Request) {
		session := r.URL.Query().Get("session")
		if session == "" {
			http.Error(w, "which session?", http.StatusBadRequest)
			return
		}
		p.updates.do(w, r, func(ctx context.Context) (any, error) { return p.Updates(ctx, session) })
	})
	return mux
}

// file serves an asset.
func file(name string) http.Handler {
	body, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(err) // it is embedded
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	kind := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}[path.Ext(name)]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", kind+"; charset=utf-8")
		_, _ = w.Write(body) // the reader is gone
	})
}

// askTimeout bounds one question to the brokers.
const askTimeout = 10 * time.Second

// gate lets one question in at a time.
type gate struct{ busy chan struct{} }

func (g *gate) do(w http.ResponseWriter, r *http.Request, ask func(context.Context) (any, error)) {
	select {
	case g.busy <- struct{}{}:
		defer func() { <-g.busy }()
	case <-r.Context().Done():
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askTimeout)
	defer cancel()
	body, err := ask(ctx)
	answer(w, body, err)
}

func answer(w http.ResponseWriter, body any, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		body = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(body) // the reader is gone
}
