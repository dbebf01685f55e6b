// Package deposits copies the closing updates of the output topic to a store, each exactly once.
//
// The store holds the deposits and, changed in the same transaction, how far each partition is stored. That is the truth:
// the consumer group only shares the partitions out, and its own offsets are for those who watch lag. Nothing but a
// confirmed write counts as one: after any other outcome the client is dropped, and the next one asks the store where to
// go on.
//
//	share     member.go     the group gives this instance partitions, and takes them away between two writes
//	claim     claims.go     the store makes this instance the partition's writer, and says where to go on
//	decode    decode.go     closing updates are told from others; a record that is no update stops everything
//	write     consume.go    deposits and progress of all partitions at once, if all claims still hold
//
// An instance that was frozen while another took its partitions over holds claims of an older epoch: its writes have no
// effect, and it starts over.
package deposits

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Config is what Run needs.
type Config struct {
	Connection     *kafka.Connection
	Topic          string // session updates
	Group          string // shares the partitions among instances
	Instance       string // static member id; "": none
	Owner          string // names this process in the store; unique
	SessionTimeout time.Duration
	FromEnd        bool    // a partition that the store does not know begins at its end, not at its start
	Skip           []Place // records that are passed over
	Sink           Sink
	Logger         *slog.Logger
	Metrics        *Metrics // may be nil
}

// Pauses between attempts while something does not answer.
const (
	leastPause = 200 * time.Millisecond
	mostPause  = 5 * time.Second
)

// Run copies until ctx is done, which is no error. While the store or the brokers do not answer it waits, and says once for
// what. Brokers or a topic that are not there at the start are an error, as is what only a person can mend.
func Run(ctx context.Context, cfg Config) error {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	if err := reach(ctx, cfg); err != nil && ctx.Err() == nil {
		return err
	}
	w := waiting{logger: cfg.Logger}
	for ctx.Err() == nil {
		err := cfg.Sink.Prepare(ctx)
		if err == nil {
			err = (&consumer{Config: cfg, started: func() { w.over(); cfg.Metrics.goesOn() }}).run(ctx)
		}
		cfg.Metrics.stands(IsUnavailable(err))
		switch {
		case ctx.Err() != nil:
		case IsUnavailable(err):
			w.pause(ctx, err)
		case errors.Is(err, ErrTakenOver):
			cfg.Logger.Warn("starting over", "cause", oneLine(err))
			w.pause(ctx, nil)
		default:
			return err
		}
	}
	return nil
}

// reach makes sure that the brokers answer and have the topic.
func reach(ctx context.Context, cfg Config) error {
	cl, err := cfg.Connection.Client(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	_, err = identify(ctx, cl, cfg.Topic, cfg.Group)
	return err
}

// waiting says what is waited for, once, and when it is over.
type waiting struct {
	logger *slog.Logger
	since  time.Time
	cause  string
	length time.Duration
}

// pause waits longer each time. A nil error is nothing to speak of.
func (w *waiting) pause(ctx context.Context, err error) {
	if err != nil {
		if w.since.IsZero() {
			w.since = time.Now()
		}
		if cause := oneLine(err); w.cause == "" {
			w.cause = cause
			w.logger.Warn("waiting", "for", cause)
		} else {
			w.logger.Debug("still waiting", "for", cause)
		}
	}
	w.length = min(max(2*w.length, leastPause), mostPause)
	select {
	case <-ctx.Done():
	case <-time.After(w.length):
	}
}

// over notes that all is well again.
func (w *waiting) over() {
	if w.cause != "" {
		w.logger.Info("going on", "after", time.Since(w.since).Round(time.Millisecond).String())
	}
	*w = waiting{logger: w.logger}
}

// oneLine is an error's text without its line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
