package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/internal/tracing"
	"github.com/penstock/penstock/statestore"
)

// restoring is a task on its way in: its goroutine fills the store and reports to the inbox.
type restoring struct {
	partition int32
	epoch     uint64
	cancel    context.CancelFunc
	done      chan struct{}
}

// believeEvery is the pause between two questions whether a partition is still owned.
const believeEvery = 200 * time.Millisecond

// acquire begins to take a task over. The goroutine ends before the task is released.
func (w *Worker) acquire(ctx context.Context, partition int32, epoch uint64) {
	ctx, cancel := context.WithCancel(ctx)
	r := &restoring{partition: partition, epoch: epoch, cancel: cancel, done: make(chan struct{})}
	w.restores[partition] = r
	w.cfg.Monitor.Acquired(partition)
	go func() {
		defer close(r.done)
		defer cancel()
		result, err := w.restore(ctx, partition)
		err = w.believe(ctx, r, err)
		var timers *task.Timers
		if err == nil {
			timers, err = task.ReadTimers(w.cfg.Restore.Store, w.cfg.Topology, partition)
		}
		w.inbox.put(restored{r, result, timers, err})
	}()
}

func (w *Worker) restore(ctx context.Context, partition int32) (restore.Result, error) {
	if err := w.step(Acquired); err != nil {
		return restore.Result{}, err
	}
	result, err := restore.Task(ctx, w.restoreConfig(partition), partition)
	if err == nil {
		err = w.cfg.Tables.Await(ctx)
	}
	if err == nil {
		err = w.step(Restored)
	}
	return result, err
}

// believe returns err, unless it is a mismatch that a process which did not own the partition without a break may have
// dreamt up: held up between two looks at the broker, it saw what others had made of the partition meanwhile.
func (w *Worker) believe(ctx context.Context, r *restoring, err error) error {
	var mismatch *restore.MismatchError
	if !errors.As(err, &mismatch) {
		return err
	}
	for {
		held, unsure := w.cfg.Held(ctx, r.partition, r.epoch)
		if held {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(believeEvery):
		}
		if unsure == nil {
			return fmt.Errorf("the partition was not owned without a break, so this was not believed: %v", err)
		}
	}
}

// restored opens a task whose state is complete.
func (w *Worker) restored(ctx context.Context, m restored) error {
	if w.restores[m.of.partition] != m.of {
		return nil // released meanwhile
	}
	delete(w.restores, m.of.partition)
	if m.err != nil {
		return w.restoreFailed(ctx, m)
	}
	o := &owned{epoch: m.of.epoch, identity: m.result.Identity, frozenAt: time.Now(),
		mark: m.result.Mark}
	o.task = task.New(task.Config{
		Topology: w.cfg.Topology, Partition: m.of.partition, Store: w.cfg.Restore.Store, Arena: &w.arena,
		Limits: w.cfg.Limits, BadInput: w.cfg.BadInput, Rejected: w.rejected, Timers: m.timers, Tables: w.cfg.Tables,
	}, m.result.Position)
	w.own(o)
	w.learn(o)
	w.track(o)
	for i := range w.cfg.Topology.Inputs {
		w.session.Add(i, m.of.partition, o.task.Next(i), m.result.Epochs[i])
	}
	if w.startBy.IsZero() {
		w.startBy = time.Now().Add(startWithin)
	}
	w.watched(o)
	if w.cfg.Ready != nil {
		w.cfg.Ready(m.of.partition)
	}
	return w.step(Opened)
}

// startWithin is how long a task that is open waits for others that are on their way in, so that their records are asked for
// together.
const startWithin = 20 * time.Millisecond

// start begins to read the partitions of tasks that were opened.
func (w *Worker) start() {
	if w.startBy.IsZero() || len(w.restores) > 0 && time.Now().Before(w.startBy) {
		return
	}
	w.startBy = time.Time{}
	w.session.Start()
}

func (w *Worker) track(o *owned) {
	o.tracks = o.tracks[:0]
	for state := range w.cfg.Topology.States {
		o.tracks = append(o.tracks, w.session.Track(w.cfg.Topology.ChangelogTopic(state), o.task.Partition(), o.task.Changelog(state), o.mark.Last[state]))
	}
	o.letters = w.session.To(w.cfg.Topology.DeadLetterTopic(), o.task.Partition())
}

func (w *Worker) restoreFailed(ctx context.Context, m restored) error {
	var mismatch *restore.MismatchError
	switch {
	case errors.Is(m.err, context.Canceled):
		return nil
	case errors.As(m.err, &mismatch), errors.Is(m.err, task.ErrDeadline), statestore.IsUnusable(m.err):
		return &Fatal{m.err}
	}
	w.cfg.Logger.Warn("restore starts over", "partition", m.of.partition, "error", m.err)
	w.acquire(ctx, m.of.partition, m.of.epoch)
	return nil
}

// release stops a task: its transaction is committed where that is allowed, its state goes to the store, and nothing of
// it stays cached (R11).
func (w *Worker) release(ctx context.Context, m release) error {
	if r := w.restores[m.partition]; r != nil {
		delete(w.restores, m.partition)
		r.cancel()
		<-r.done
		return nil
	}
	o := w.tasks[m.partition]
	if o == nil {
		return nil
	}
	err := w.step(Releasing)
	if w.open && o.task.Moved() {
		if err == nil {
			err = w.end(ctx, m.commit)
		}
		if err != nil {
			w.cfg.Logger.Warn("transaction not committed at the release of a partition", "partition", m.partition, "error", err)
			w.abort()
			if m.commit { // which is when it is still the owner
				err = errors.Join(err, w.lost(ctx, []*owned{o}))
			}
		}
	}
	w.drop(m.partition)
	return errors.Join(err, w.step(Released))
}

// end commits or refuses to.
func (w *Worker) end(ctx context.Context, commit bool) error {
	if !commit {
		return errors.New("the partition was lost")
	}
	return w.commit(ctx)
}

// abort drops the overlay of every task.
func (w *Worker) abort() {
	w.open, w.grown = false, 0
	w.traced()
	w.endSpans((*tracing.Span).Dropped)
	w.sent.reset()
	w.cfg.Counters.Aborts.Add(1)
	for _, o := range w.tasks {
		o.task.Abort()
	}
}

// errFull saves a try of each task.
var errFull = errors.New("the disk is full")

// drop writes a task's committed state to the store and forgets it.
func (w *Worker) drop(partition int32) {
	o := w.tasks[partition]
	o.gone.Store(true)
	w.session.Remove(partition)
	w.disown(o)
	o.forget()
	w.count(o)
	err := w.settle(o)
	if err == nil && w.cfg.Flusher.Full() {
		err = errFull
	}
	if err == nil {
		w.refresh(o)
		err = w.cfg.Flusher.Now(o.freeze())
	}
	if err != nil {
		// The store lacks these entries and their position alike: the next owner reads them from the changelog.
		w.cfg.Logger.Warn("state not flushed at release", "partition", partition, "error", err)
	}
}

func (w *Worker) rejected(r *topology.Record, why *topology.Rejection) {
	w.cfg.Counters.Rejected.Add(1)
	w.cfg.Monitor.Rejected(why.Reason)
	if w.span != nil && r.Input >= 0 {
		w.span.Rejected(why)
	}
	w.cfg.Logger.Warn("record rejected", "topic", w.cfg.Topology.Source(r), "partition", r.Partition, "offset", r.Offset,
		"reason", why.Reason, "error", why.Err)
}

// reader is the proof of gaps on an input.
func (w *Worker) reader(input int, partition int32) *broker.Reader {
	return w.cfg.Cluster.Reader(w.cfg.Session.Inputs[input], partition)
}
