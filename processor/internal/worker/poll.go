package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
)

// poll steps what has been fetched. With nothing there it commits an open transaction, or waits.
func (w *Worker) poll(ctx context.Context) error {
	n, err := w.session.Buffered(w.onRecord(ctx))
	if err != nil {
		return w.pollFailed(err)
	}
	if n > 0 {
		return w.produce()
	}
	if !w.open {
		return w.wait(ctx, w.idle())
	}
	rest := minCommitInterval - time.Since(w.lastCommit)
	if w.behind() {
		rest = w.cfg.CommitInterval - time.Since(w.openedAt)
	}
	if rest > 0 {
		return w.wait(ctx, rest)
	}
	return w.commit(ctx)
}

// behind reports whether the last fetch left committed records to be read: the next ones are on their way.
func (w *Worker) behind() bool {
	for _, o := range w.tasks {
		for input := range w.cfg.Topology.Inputs {
			if o.task.Next(input) < w.session.Stable(input, o.task.Partition()) {
				return true
			}
		}
	}
	return false
}

// idleWait bounds a wait for records; the inbox ends it early, as a question does.
const idleWait = time.Second

func (w *Worker) wait(ctx context.Context, limit time.Duration) error {
	if !w.startBy.IsZero() {
		limit = min(limit, time.Until(w.startBy))
	}
	ctx2, cancel := w.inbox.askable(ctx)
	defer cancel()
	ctx2, cancel2 := context.WithTimeout(ctx2, limit)
	defer cancel2()
	n, err := w.session.Poll(ctx2, w.onRecord(ctx))
	if err != nil {
		return w.pollFailed(err)
	}
	if n > 0 {
		return w.produce()
	}
	return nil
}

// ahead prepares for the next records of a partition.
func (w *Worker) ahead(partition int32, n int, key func(i int) []byte) {
	if o := w.tasks[partition]; o != nil {
		held := o.task.CacheBytes()
		o.task.Ahead(n, key)
		w.grew(o, held)
	}
}

// grew notes what a task's cache grew by, which had so many bytes before. It cannot shrink before the next commit.
func (w *Worker) grew(o *owned, held int) { w.grown += max(0, o.task.CacheBytes()-held) }

// onRecord steps one record, or passes a marker.
func (w *Worker) onRecord(ctx context.Context) func(*topology.Record, bool) error {
	w.now = time.Now().UnixMilli()
	return func(r *topology.Record, control bool) error {
		o := w.tasks[r.Partition]
		if o == nil || r.Offset < o.task.Next(r.Input) && control {
			return nil
		}
		if err := w.ensureOpen(); err != nil {
			return err
		}
		if control {
			return w.pass(ctx, o, r)
		}
		if err := w.step(Polled); err != nil {
			return err
		}
		if w.cfg.Tracer != nil {
			w.trace(r)
		}
		err := w.stepRecord(ctx, o, r)
		var gap *task.GapError
		if errors.As(err, &gap) {
			if err := w.prove(ctx, o, r, gap); err != nil {
				return err
			}
			err = w.stepRecord(ctx, o, r)
		}
		if errors.Is(err, errReleased) {
			w.untraced()
			return nil
		}
		if err != nil {
			return w.stepFailed(err)
		}
		w.traced()
		if err := w.step(Stepped); err != nil {
			return err
		}
		w.gathered(o)
		w.placed(r)
		w.records++
		w.bytes += len(r.Key) + len(r.Value)
		return w.look(ctx)
	}
}

// look reads the clock now and then, answers questions, and commits inside a batch whose handlers are slow (a transaction never reaches
// its time-out by our own slowness).
func (w *Worker) look(ctx context.Context) error {
	w.clock++
	if w.clock < clockEvery {
		return nil
	}
	w.clock = 0
	now := time.Now()
	w.now = now.UnixMilli()
	if now.Sub(w.answeredAt) >= answerInterval {
		w.answerQuestions()
	}
	if now.Sub(w.openedAt) < w.cfg.CommitInterval && !w.full() {
		return nil
	}
	if err := w.produce(); err != nil {
		return err
	}
	return w.commitWithin(ctx)
}

// commitWithin commits while there are fetched records still to be stepped, and waits for the store where these would find
// no room.
func (w *Worker) commitWithin(ctx context.Context) error {
	if err := w.commit(ctx); err != nil {
		return err
	}
	for {
		if err := w.flushDue(); err != nil {
			return err
		}
		if !w.stuffed() {
			w.now = time.Now().UnixMilli()
			return nil
		}
		w.cfg.Monitor.Beat(w.cfg.Name)
		w.began()
		if err := w.pause(ctx, stuffedPoll); err != nil {
			return err
		}
	}
}

func (w *Worker) pass(ctx context.Context, o *owned, r *topology.Record) error {
	if r.Offset != o.task.Next(r.Input) {
		gap := &task.GapError{Topic: w.cfg.Topology.Inputs[r.Input], Partition: r.Partition, Want: o.task.Next(r.Input), Got: r.Offset}
		if err := w.prove(ctx, o, r, gap); err != nil {
			return err
		}
	}
	o.task.Pass(r.Input, r.Offset+1)
	return nil
}

// prove accepts a gap if a read at the expected offset finds nothing before the record either (R4).
func (w *Worker) prove(ctx context.Context, o *owned, r *topology.Record, gap *task.GapError) error {
	if !gap.Ahead() {
		o.task.Violated()
		w.cfg.Counters.Violations.Add(1)
		return gap
	}
	first, err := w.reader(r.Input, r.Partition).First(ctx, gap.Want, gap.Got)
	if errors.Is(err, broker.ErrOutOfRange) {
		w.cfg.Logger.Error("retention removed records before they were processed: they are lost", "topic", gap.Topic,
			"partition", gap.Partition, "from", gap.Want, "to", gap.Got)
		first, err = gap.Got, nil
	}
	if err != nil {
		return err
	}
	if first != gap.Got {
		o.task.Violated()
		w.cfg.Counters.Violations.Add(1)
		return fmt.Errorf("%w, although offset %d is there", gap, first)
	}
	o.task.Pass(r.Input, gap.Got)
	return nil
}

// ensureOpen opens a transaction at its first record and notes under which membership (R2).
func (w *Worker) ensureOpen() error {
	if w.open {
		return nil
	}
	if err := w.session.Begin(); err != nil {
		return err
	}
	w.arena.Reset()
	w.open, w.openedAt = true, time.Now()
	w.member = w.cfg.Membership().MemberID
	w.records, w.bytes, w.clock = 0, 0, 0
	return nil
}

// due reports whether the open transaction has lasted long enough.
func (w *Worker) due() bool {
	return w.open && (time.Since(w.openedAt) >= w.cfg.CommitInterval || w.full())
}

// full reports whether the open transaction holds as much memory as it may: nothing that it touched can be evicted.
func (w *Worker) full() bool {
	return w.records >= transactionRecords || len(w.spans) >= transactionSpans || w.bytes >= transactionBytes || w.arena.Bytes() >= transactionHeld || w.grown >= len(w.tasks)*w.cacheBytes
}

func (w *Worker) stepFailed(err error) error {
	var bad *task.BadInputError
	var defect *topology.Defect
	if errors.As(err, &bad) || errors.As(err, &defect) {
		return &Fatal{err}
	}
	return err
}

func (w *Worker) pollFailed(err error) error {
	var fetch *broker.FetchError
	if errors.As(err, &fetch) && broker.IsAuthorization(err) {
		return &Fatal{err}
	}
	return err
}
