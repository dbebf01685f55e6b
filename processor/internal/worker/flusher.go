package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/statestore"
)

// Bounds of what the store has but a crash would lose, which is what a restart replays from the changelog.
const (
	durableDebt     = 400_000 // changelog records
	durableInterval = 30 * time.Second
)

// How often a full disk is tried again, and said.
const (
	spaceRetry  = 500 * time.Millisecond
	spaceReport = 10 * time.Second
)

var batches = sync.Pool{New: func() any { return new(statestore.Batch) }}

// Flusher writes frozen batches to the process's store, one at a time, and makes them durable now and then.
type Flusher struct {
	store    statestore.Store
	log      *slog.Logger
	interval time.Duration // between two times of making it durable
	count    *Counters
	full     atomic.Bool // the disk is, or was when a batch was last tried

	waiting sync.Mutex
	queue   []job         // at most one of each task
	wake    chan struct{} // the queue grew, or a task gave its batch up

	mu      sync.Mutex // Apply and the counts below
	debt    int        // changelog records in the store but not durable
	durable time.Time
}

type job struct {
	frozen frozen
	given  *flushing
	done   func(error)
}

// NewFlusher makes a flusher that makes what it wrote durable at least every interval, by default 30 s. Run must be
// running for later to make progress.
func NewFlusher(store statestore.Store, count *Counters, interval time.Duration, log *slog.Logger) *Flusher {
	if interval == 0 {
		interval = durableInterval
	}
	return &Flusher{store: store, log: log, count: count, interval: interval, wake: make(chan struct{}, 1), durable: time.Now()}
}

// Run writes batches until ctx is done, and then those still queued.
func (f *Flusher) Run(ctx context.Context) {
	for {
		if j, ok := f.next(); ok {
			j.done(f.patiently(ctx, j))
			continue
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (f *Flusher) next() (j job, ok bool) {
	f.waiting.Lock()
	defer f.waiting.Unlock()
	if len(f.queue) == 0 {
		return j, false
	}
	j = f.queue[0]
	f.queue = f.queue[1:]
	return j, true
}

// later queues a batch and calls done, on the flusher's goroutine, when the store answers with it.
func (f *Flusher) later(b frozen, given *flushing, done func(error)) {
	f.waiting.Lock()
	f.queue = append(f.queue, job{b, given, done})
	f.waiting.Unlock()
	f.nudge()
}

// giveUp lets go of a batch that waits for room on the disk, behind others or not.
func (f *Flusher) giveUp(given *flushing) {
	given.abandoned.Store(true)
	f.nudge()
}

func (f *Flusher) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Full reports whether batches wait for room on the disk (R8).
func (f *Flusher) Full() bool { return f.full.Load() }

// patiently writes a batch as soon as the disk has room for it, unless its task gives it up.
func (f *Flusher) patiently(ctx context.Context, j job) error {
	for said := (time.Time{}); ; {
		err := f.Now(j.frozen)
		if !statestore.IsNoSpace(err) || statestore.IsUnusable(err) {
			return err
		}
		f.full.Store(true)
		if time.Since(said) > spaceReport {
			said = time.Now()
			f.log.Error("the disk of the state directory is full: processing stops until there is room", "error", err)
		}
		if !f.pause(ctx, j, err) {
			return err
		}
	}
}

// pause waits before j is tried again; false if it is not to be. Batches behind it that were given up are answered.
func (f *Flusher) pause(ctx context.Context, j job, err error) bool {
	retry := time.NewTimer(spaceRetry)
	defer retry.Stop()
	for ctx.Err() == nil && !j.given.abandoned.Load() {
		select {
		case <-ctx.Done():
		case <-f.wake:
			f.refuse(err)
		case <-retry.C:
			return true
		}
	}
	return false
}

func (f *Flusher) refuse(err error) {
	f.waiting.Lock()
	var stay, gone []job
	for _, j := range f.queue {
		if j.given.abandoned.Load() {
			gone = append(gone, j)
		} else {
			stay = append(stay, j)
		}
	}
	f.queue = stay
	f.waiting.Unlock()
	for _, j := range gone {
		j.done(err)
	}
}

// Now writes a batch before it returns. After an error nothing of it is in the store.
func (f *Flusher) Now(b frozen) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b.batch.Sort()
	if err := f.store.Apply(b.batch); err != nil {
		return err
	}
	f.full.Store(false)
	f.count.Flushes.Add(1)
	f.count.FlushedEntries.Add(int64(b.batch.Len()))
	batches.Put(b.batch)
	f.debt += b.debt
	if f.debt < durableDebt && time.Since(f.durable) < f.interval {
		return nil
	}
	err := f.store.Flush()
	if err == nil {
		f.debt, f.durable = 0, time.Now()
		f.count.Durable.Add(1)
	}
	if statestore.IsNoSpace(err) && !statestore.IsUnusable(err) || errors.Is(err, statestore.ErrClosed) {
		return nil // the batch is readable; the next one tries again
	}
	return err
}
