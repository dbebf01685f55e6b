package worker

import (
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/statestore"
)

// When a task's dirty entries go to the store: enough of them for a large sorted batch, enough changelog records that a
// restart would replay, or enough time.
const (
	freezeEntries  = 64 << 10
	freezeDebt     = 200_000 // changelog records of all of a worker's tasks
	freezeInterval = 10 * time.Second
	// refreshInterval is how often an idle task's position is written again, so that it does not grow old (R7).
	refreshInterval = 10 * time.Minute
	// dirtyMax is where a task waits for the store: it has more to write than memory should hold.
	dirtyMax = 8 * freezeEntries
)

// frozen is one batch on its way to the store.
type frozen struct {
	batch *statestore.Batch
	seq   uint64
	debt  int // changelog records that it stands for
}

func (o *owned) freeze() frozen {
	b := batches.Get().(*statestore.Batch)
	b.Reset()
	seq := o.task.Freeze(b, o.identity)
	f := frozen{b, seq, o.debt}
	o.frozenAt, o.debt = time.Now(), 0
	return f
}

// flushDue sends dirty entries to the store where it is time. At most one batch of a task is under way.
func (w *Worker) flushDue() error {
	debt := 0
	for _, o := range w.tasks {
		debt += o.debt
	}
	for _, o := range w.tasks {
		if o.learning == nil && o.task.KnownFull() {
			w.learn(o)
		}
		if o.flushing != nil || !w.freezeDue(o, debt) {
			continue
		}
		f := o.freeze()
		under := &flushing{seq: f.seq, done: make(chan struct{})}
		o.flushing = under
		w.cfg.Flusher.later(f, under, func(err error) {
			under.err = err
			close(under.done)
			w.inbox.put(applied{o})
		})
		if err := w.step(Frozen); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) freezeDue(o *owned, debt int) bool {
	age := time.Since(o.frozenAt)
	switch dirty := o.task.Dirty(); {
	case dirty == 0:
		return age >= refreshInterval && w.refresh(o)
	case dirty >= freezeEntries, debt >= freezeDebt, age >= w.cfg.FreezeInterval:
		return true
	}
	return o.task.CacheBytes() >= w.cacheBytes
}

// stuffed reports whether a task has more to write than memory should hold: the store is slow, or its disk full (R8).
func (w *Worker) stuffed() bool {
	for _, o := range w.tasks {
		if o.flushing != nil && (o.task.Dirty() >= dirtyMax || o.task.CacheBytes() >= 2*w.cacheBytes || w.cfg.Flusher.Full()) {
			return true
		}
	}
	return false
}

// stuffedPoll is how often a worker looks whether it may go on.
const stuffedPoll = 100 * time.Millisecond

// flushing is a batch under way; err may be read once done is closed.
type flushing struct {
	seq       uint64
	done      chan struct{}
	err       error
	abandoned atomic.Bool // its task is given up: a full disk is not waited for
}

// settle waits for the batch under way and notes its outcome. After an error the store lacks entries that the task
// counts as frozen: nothing may be written after it.
func (w *Worker) settle(o *owned) error {
	if o.flushing == nil {
		return nil
	}
	w.cfg.Flusher.giveUp(o.flushing)
	<-o.flushing.done
	if err := o.flushing.err; err != nil {
		return &Fatal{err}
	}
	o.task.Applied(o.flushing.seq)
	o.flushing = nil
	return nil
}
