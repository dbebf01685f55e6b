package worker

import (
	"context"

	"github.com/penstock/penstock/processor/internal/task"
)

// learning is a reading under way of the keys that the store holds of a task, beside the loop.
type learning struct {
	cancel context.CancelFunc
	done   chan struct{}
}

type learned struct {
	owned *owned
	keys  task.Known
	err   error
}

// learn begins to read the keys of a task, so that the store is not asked for those that it lacks.
func (w *Worker) learn(o *owned) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &learning{cancel, make(chan struct{})}
	o.learning = l
	o.task.BeginKnown()
	partition, bytes := o.task.Partition(), o.task.KnownBytes()
	go func() {
		defer close(l.done)
		keys, err := task.ReadKnown(ctx, w.cfg.Restore.Store, w.cfg.Topology, partition, bytes)
		w.inbox.put(learned{o, keys, err})
	}()
}

// learned gives the keys to their task. Without them it asks the store, which tells what is wrong.
func (w *Worker) learned(m learned) {
	o := m.owned
	if w.tasks[o.task.Partition()] != o {
		return
	}
	o.forget()
	if m.err != nil {
		w.cfg.Logger.Warn("the store's keys cannot be read: it is asked for each", "partition", o.task.Partition(), "error", m.err)
	}
	o.task.EndKnown(m.keys)
}

// forget ends a reading that is under way.
func (o *owned) forget() {
	if o.learning != nil {
		o.learning.cancel()
		<-o.learning.done
		o.learning = nil
	}
}
