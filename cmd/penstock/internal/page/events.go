package page

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// maxStreams bounds how many may follow at once.
	maxStreams = 32
	// writeTimeout is how long a slow reader may take for one event.
	writeTimeout = 10 * time.Second
)

// stream sends a view at each sample: the first with the whole hour, the others with what was added. A reader that is slow
// misses samples, no points.
type stream struct {
	ctx     context.Context
	samples *sampler
	room    chan struct{}
}

// ServeHTTP implements http.Handler.
func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, fmt.Sprintf("%d others follow this process", maxStreams), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	seen := 0
	for {
		v, made, changed := s.samples.view(seen)
		seen = made
		body, err := json.Marshal(v)
		if err != nil {
			panic(err) // plain data
		}
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every server can
		if _, err := fmt.Fprintf(w, "data: %s\n\n", body); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.ctx.Done():
			return
		}
	}
}
