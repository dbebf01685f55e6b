package worker

import (
	"context"
	"sync"
	"time"

	"github.com/penstock/penstock/statestore"
)

// Bounds of what the store has but a crash would lose, which is what a restart replays from the changelog.
const (
	durableEntries  = 500_000
	durableInterval = 30 * time.Second
)

var batches = sync.Pool{New: func() any { return new(statestore.Batch) }}

// Flusher writes frozen batches to the process's store, one at a time, and makes them durable now and then.
type Flusher struct {
	store   statestore.Store
	queue   chan job
	mu      sync.Mutex // Apply and the counts below
	entries int
	durable time.Time
}

type job struct {
	frozen frozen
	done   func(error)
}

// NewFlusher makes a flusher. Run must be running for Later to make progress.
func NewFlusher(store statestore.Store) *Flusher {
	return &Flusher{store: store, queue: make(chan job, 64), durable: time.Now()}
}

// Run writes batches until ctx is done, and then those still queued.
func (f *Flusher) Run(ctx context.Context) {
	for {
		select {
		case j := <-f.queue:
			j.done(f.Now(j.frozen))
		case <-ctx.Done():
			for {
				select {
				case j := <-f.queue:
					j.done(f.Now(j.frozen))
				default:
					return
				}
			}
		}
	}
}

// Later queues a batch and calls done, on the flusher's goroutine, when the store answers with it.
func (f *Flusher) Later(b frozen, done func(error)) { f.queue <- job{b, done} }

// Now writes a batch before it returns.
func (f *Flusher) Now(b frozen) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b.batch.Sort()
	if err := f.store.Apply(b.batch); err != nil {
		return err
	}
	f.entries += b.batch.Len()
	batches.Put(b.batch)
	if f.entries < durableEntries && time.Since(f.durable) < durableInterval {
		return nil
	}
	f.entries, f.durable = 0, time.Now()
	return f.store.Flush()
}
