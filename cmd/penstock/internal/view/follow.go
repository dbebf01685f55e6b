package view

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/processor/session"
)

// Filter says which updates are shown.
type Filter struct {
	Closing bool   // closing ones only
	Session string // of this session only; empty: of all
	Limit   int    // no more than this many; 0: no bound
}

// Following is what Follow shows, and how.
type Following struct {
	Reader *kafka.Reader // of the output topic
	View   View
	Filter Filter
	// Bad is told of a record that is no update.
	Bad func(r *kgo.Record, err error)
	// Until ends it, once it returns true for the reader's position; may be nil.
	Until func(kafka.Ends) bool
}

// frame is how long a poll waits at most, so that the view can draw.
const frame = 100 * time.Millisecond

// Follow shows updates until ctx is done, which is no error, or there is nothing more to show.
func Follow(ctx context.Context, f Following) error {
	updates := session.SessionUpdateJSON()
	shown := 0
	full := func() bool { return f.Filter.Limit > 0 && shown >= f.Filter.Limit }
	show := func(r *kgo.Record) {
		if full() || f.Filter.Session != "" && f.Filter.Session != string(r.Key) {
			return
		}
		u, err := updates.Decode(r.Value)
		if err != nil {
			f.Bad(r, err)
			return
		}
		if u.DepositCurrentBalance || !f.Filter.Closing {
			f.View.Show(u)
			shown++
		}
	}
	for ctx.Err() == nil && !full() && (f.Until == nil || !f.Until(f.Reader.Position())) {
		poll, cancel := context.WithTimeout(ctx, frame)
		err := f.Reader.Poll(poll, show)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return errors.Join(f.View.Close(), err)
		}
		if err := f.View.Flush(); err != nil {
			return err
		}
	}
	return f.View.Close()
}

// JSONLines prints each update as one line of JSON, as it stands in the topic.
type JSONLines struct {
	w   io.Writer
	buf []byte
}

// NewJSONLines prints to w.
func NewJSONLines(w io.Writer) *JSONLines { return &JSONLines{w: w} }

// Show takes an update.
func (l *JSONLines) Show(u session.SessionUpdate) {
	buf, err := session.SessionUpdateJSON().Append(l.buf, u)
	if err != nil {
		panic(err) // it was decoded from this format
	}
	l.buf = append(buf, '\n')
}

// Flush writes.
func (l *JSONLines) Flush() error {
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// Close is Flush.
func (l *JSONLines) Close() error { return l.Flush() }
