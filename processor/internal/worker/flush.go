package worker

import (
	"time"

	"github.com/penstock/penstock/statestore"
)

// When a task's dirty entries go to the store: enough of them for a large sorted batch, or enough time.
const (
	freezeEntries  = 64 << 10
	freezeInterval = 10 * time.Second
)

// frozen is one batch on its way to the store.
type frozen struct {
	batch *statestore.Batch
	seq   uint64
}

func (o *owned) freeze() frozen {
	b := batches.Get().(*statestore.Batch)
	b.Reset()
	seq := o.task.Freeze(b, o.identity)
	o.frozenAt = time.Now()
	return frozen{b, seq}
}

// flushDue sends dirty entries to the store where it is time. At most one batch of a task is under way.
func (w *Worker) flushDue() error {
	for _, o := range w.tasks {
		if o.flushing != nil {
			continue
		}
		dirty := o.task.Dirty()
		if dirty < freezeEntries && o.task.CacheBytes() < w.cfg.CacheBytes/len(w.tasks) && time.Since(o.frozenAt) < freezeInterval {
			continue
		}
		if dirty == 0 {
			o.frozenAt = time.Now()
			continue
		}
		f := o.freeze()
		under := &flushing{seq: f.seq, done: make(chan struct{})}
		o.flushing = under
		w.cfg.Flusher.Later(f, func(err error) {
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

// flushing is a batch under way; err may be read once done is closed.
type flushing struct {
	seq  uint64
	done chan struct{}
	err  error
}

// settle waits for the batch under way and notes its outcome. After an error the store lacks entries that the task
// counts as frozen: nothing may be written after it.
func (o *owned) settle() error {
	if o.flushing == nil {
		return nil
	}
	<-o.flushing.done
	if err := o.flushing.err; err != nil {
		return &Fatal{err}
	}
	o.task.Applied(o.flushing.seq)
	o.flushing = nil
	return nil
}
