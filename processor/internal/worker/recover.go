package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/statestore"
)

const (
	recoverMin = 10 * time.Millisecond
	recoverMax = 2 * time.Second
	// fencedAgain is how soon a second fencing by somebody else shows a duel (R13).
	fencedAgain = time.Minute
)

// recover is the way back from anything but a confirmed commit (R3): the overlay is dropped, the client replaced, and
// every task taken over again from what Kafka holds.
func (w *Worker) recover(ctx context.Context, cause error) error {
	if statestore.IsUnusable(cause) || broker.IsAuthorization(cause) {
		return &Fatal{cause}
	}
	if err := w.duel(cause); err != nil {
		return err
	}
	w.cfg.Logger.Warn("transaction dropped; the client is replaced and state caught up from the changelog", "worker", w.cfg.Name, "cause", cause)
	w.abort()
	var tasks []*owned
	for p, o := range w.tasks {
		tasks = append(tasks, o)
		w.drop(p)
		w.cfg.Monitor.Acquired(p) // it serves no more, until it is taken over again
	}
	w.session.Close()
	if err := w.lost(ctx, tasks); err != nil {
		return err
	}
	if err := w.backoff(ctx); err != nil {
		return err
	}
	if err := w.rejoined(ctx); err != nil {
		return err
	}
	session := w.cfg.Session
	session.Doubt = true
	for wait := recoverMin; ; wait = min(2*wait, recoverMax) {
		w.cfg.Monitor.Beat(w.cfg.Name)
		err := w.openSession(ctx, session)
		if err == nil {
			break
		}
		if broker.IsAuthorization(err) {
			return &Fatal{err}
		}
		w.cfg.Logger.Warn("waiting for the brokers", "worker", w.cfg.Name, "error", err)
		if err := w.pause(ctx, wait); err != nil {
			return err
		}
	}
	for _, o := range tasks {
		if p := o.task.Partition(); w.cfg.Epoch(p) == o.epoch {
			w.acquire(ctx, p, o.epoch)
		}
	}
	return nil
}

// rejoined waits until the group takes this process for a member: one that was replaced would fence the one that runs in its
// place, again and again (R13).
func (w *Worker) rejoined(ctx context.Context) error {
	for w.cfg.Out(ctx) {
		w.cfg.Monitor.Beat(w.cfg.Name)
		if err := w.pause(ctx, believeEvery); err != nil {
			return err
		}
	}
	return nil
}

// lost stops the process where a changelog was cut under it, and has grown past the cut by its own records since: so that no
// later one takes what is left for the whole, that is written to the partition's offsets, as soon as they can be. A
// process that is no longer the owner goes on. The tasks' transaction is dropped.
func (w *Worker) lost(ctx context.Context, tasks []*owned) error {
	cut := w.session.Lost()
	if cut == nil {
		return nil
	}
	at := slices.IndexFunc(tasks, func(o *owned) bool { return o.task.Partition() == cut.Partition })
	if at < 0 {
		return nil
	}
	o := tasks[at]
	what := fmt.Errorf("%w. Run penstock reset", cut)
	w.cfg.Logger.Error("a changelog was cut", "partition", cut.Partition, "error", what)
	mark := restore.Mark{Format: o.mark.Format, Incarnation: o.mark.Incarnation, Cut: what.Error()}.String()
	offsets := w.offsets(o, mark)
	for {
		m, err := w.fence([]*owned{o})
		if err != nil {
			return nil
		}
		if err = w.cfg.Cluster.Commit(ctx, m, offsets); err == nil || ctx.Err() != nil {
			return &Fatal{errors.Join(what, err)}
		}
		if err := w.pause(ctx, recoverMin); err != nil {
			return &Fatal{what}
		}
	}
}

// backoff slows down a worker that fails again and again.
func (w *Worker) backoff(ctx context.Context) error {
	quiet := time.Since(w.recoveredAt) > 10*recoverMax
	w.recoveredAt = time.Now()
	if quiet {
		w.retryIn = 0
		return nil
	}
	w.retryIn = min(max(recoverMin, 2*w.retryIn), recoverMax)
	return w.pause(ctx, w.retryIn)
}

// pause waits, but answers releases, so that a rebalance is not held up while the brokers are away. Questions do not end it.
func (w *Worker) pause(ctx context.Context, d time.Duration) error {
	w.answerQuestions()
	end := time.Now().Add(d)
	wake, cancel := w.inbox.waitable(ctx)
	defer cancel()
	sleep(wake, d)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var later []any
	items := w.inbox.take()
	for i, item := range items {
		if _, wantsSession := item.(restored); wantsSession {
			later = append(later, item)
			continue
		}
		if err := w.answerOne(ctx, item); err != nil {
			w.putBack(append(later, items[i+1:]...))
			return err
		}
	}
	w.putBack(later)
	if len(later) > 0 { // which end the next wait at once
		sleep(ctx, time.Until(end))
	}
	return nil
}

// sleep lasts for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// duel tells a fencing by our own slowness, where the transaction timed out, from one by another holder of the id: the
// second of these within a minute stops the process (R13).
func (w *Worker) duel(cause error) error {
	if !broker.IsFenced(cause) || w.open && time.Since(w.openedAt) > w.cfg.Session.TransactionTimeout/2 {
		return nil
	}
	last := w.fencedAt
	w.fencedAt = time.Now()
	if last.IsZero() || time.Since(last) > fencedAgain {
		return nil
	}
	return &Fatal{fmt.Errorf("fenced twice within %v by another holder of transactional id %q: two processes use one --instance or a copied state directory. Give each its own (%w)",
		fencedAgain, w.cfg.Session.TransactionalID, cause)}
}
