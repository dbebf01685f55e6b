package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/telemetry"
	"github.com/penstock/penstock/processor/internal/tracing"
)

// commitTimeout bounds the calls of one commit: after it, the outcome is unknown (R3).
const commitTimeout = 30 * time.Second

// commit ends the open transaction over all tasks that it touched. Any error, the end of ctx included, leaves the outcome
// unknown, and the session spoiled (R3).
func (w *Worker) commit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, min(commitTimeout, max(w.cfg.Session.TransactionTimeout, time.Second)))
	defer cancel()
	began := time.Now()
	touched := w.touched()
	for _, o := range touched {
		o.task.Prepare(func() { w.gathered(o) })
		w.produceOf(o)
	}
	if err := w.step(Prepared); err != nil {
		return err
	}
	if err := w.session.Flush(ctx); err != nil {
		return err
	}
	if err := w.step(Flushed); err != nil {
		return err
	}
	if err := w.commitOffsets(ctx, touched); err != nil {
		return err
	}
	w.open, w.grown, w.lastCommit = false, 0, time.Now()
	w.doubtful = w.doubtful && len(touched) == 0 // the coordinator took these offsets from a member
	w.cfg.Counters.Commits.Add(1)
	w.endSpans((*tracing.Span).Committed)
	w.countSent()
	w.cfg.Monitor.CommitTook(w.lastCommit.Sub(began))
	w.keep(touched)
	return w.step(Kept)
}

func (w *Worker) touched() []*owned {
	var list []*owned
	for _, o := range w.tasks {
		if o.task.Moved() {
			list = append(list, o)
		}
	}
	return list
}

// commitOffsets makes the offsets, and with them all that was flushed, take effect.
func (w *Worker) commitOffsets(ctx context.Context, touched []*owned) error {
	m, err := w.fence(touched)
	if err != nil {
		return err
	}
	var offsets []broker.Offset
	for _, o := range touched {
		for state, t := range o.tracks {
			o.mark.Ends[state], o.mark.Last[state] = t.End(), t.Last()
		}
		offsets = append(offsets, w.offsets(o, o.mark.String())...)
	}
	plain := w.cfg.Session.TransactionalID == "" || w.session.Sent() == 0
	if plain { // at-least-once, or progress without effects: skipped records, markers
		if len(offsets) > 0 {
			if err := w.cfg.Cluster.Commit(ctx, m, offsets); err != nil {
				return err
			}
		}
		return w.step(Ended)
	}
	if err := w.session.AddOffsets(ctx, m, offsets); err != nil {
		return err
	}
	if err := w.step(OffsetsAdded); err != nil {
		return err
	}
	if err := w.session.Commit(ctx); err != nil {
		return err
	}
	return w.step(Ended)
}

// fence returns the membership to commit under, if each touched task was owned without a break, and by the same
// member, since it entered the transaction (R2).
func (w *Worker) fence(touched []*owned) (broker.Membership, error) {
	m := w.cfg.Membership()
	if m.MemberID != w.member {
		return m, fmt.Errorf("the member id changed from %q to %q within a transaction", w.member, m.MemberID)
	}
	for _, o := range touched {
		if now := w.cfg.Epoch(o.task.Partition()); now != o.epoch {
			return m, fmt.Errorf("ownership of partition %d changed within a transaction", o.task.Partition())
		}
	}
	return m, nil
}

// offsets are a task's, under a mark.
func (w *Worker) offsets(o *owned, mark string) (list []broker.Offset) {
	p := o.task.Partition()
	for i, topic := range w.cfg.Session.Inputs {
		list = append(list, broker.Offset{Topic: topic, Partition: p, Offset: o.task.Next(i), Epoch: w.session.Epoch(i, p), Metadata: mark})
	}
	return list
}

// keep moves the overlays into the caches.
func (w *Worker) keep(touched []*owned) {
	now := w.lastCommit.UnixMilli()
	for _, o := range touched {
		for state, n := range o.task.Removes() {
			w.cfg.Counters.Removes[state].Add(n)
		}
		o.task.Keep(o.mark.Ends, now)
		w.cfg.Monitor.Committed(o.task.Partition(), o.task.Next, telemetry.Cache{Bytes: o.task.CacheBytes(), Entries: o.task.CacheEntries(), Dirty: o.task.Dirty(), Timers: o.task.TimersWaiting()})
		w.count(o)
	}
}

// count moves a task's counts into the process's.
func (w *Worker) count(o *owned) {
	s := o.task.TakeStats()
	w.cfg.Counters.Records.Add(int64(s.Records))
	w.cfg.Counters.Checks.Add(int64(s.Checks))
	w.cfg.Counters.Timers.Add(int64(s.Timers))
	w.cfg.Counters.Lookups.Add(int64(s.Lookups))
	w.cfg.Counters.StoreReads.Add(int64(s.StoreReads))
}
