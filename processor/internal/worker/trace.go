package worker

import (
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/internal/tracing"
)

// trace begins the span of a record that is to be stepped, if it has one.
func (w *Worker) trace(r *topology.Record) {
	w.span = w.cfg.Tracer.Begin(w.cfg.Topology.Inputs[r.Input], r)
	if w.span != nil {
		r.Trace = w.span.Headers
	}
}

// traced gives the span of the record that was stepped to the transaction, with which it ends.
func (w *Worker) traced() {
	if w.span != nil {
		w.spans, w.span = append(w.spans, w.span), nil
	}
}

// untraced ends the span of a record that was not stepped.
func (w *Worker) untraced() {
	if w.span != nil {
		w.span.Dropped()
		w.span = nil
	}
}

// endSpans ends those of the transaction.
func (w *Worker) endSpans(end func(*tracing.Span)) {
	for _, s := range w.spans {
		end(s)
	}
	clear(w.spans)
	w.spans = w.spans[:0]
}
