// Package worker is the loop: one goroutine with one client, several tasks, and one transaction at a time over all of
// them. Its files stand in the order of the data: inbox, poll, tick, produce, commit, flush; acquire and recover are the ways
// in and back; query is what others may know of its tasks.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/telemetry"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/internal/tracing"
)

// Config is what a worker is made from.
type Config struct {
	Name     string // for the log; the transactional id where there are transactions
	Topology *topology.Topology
	Cluster  *broker.Cluster
	Session  broker.SessionConfig
	Restore  restore.Config
	Flusher  *Flusher
	Limits   task.Limits
	BadInput task.BadInput
	// Tables may be nil where the topology has none. No task is opened before they are complete.
	Tables *restore.Tables
	Cache  *CacheBudget // of all workers of the process

	CommitInterval time.Duration // under load
	Membership     func() broker.Membership
	Epoch          func(partition int32) uint64
	// Held reports whether the partition was held, without a break, since the epoch began; an error says that it cannot be told.
	Held func(ctx context.Context, partition int32, epoch uint64) (bool, error)
	// Out reports whether the group does not take this process for a member.
	Out      func(ctx context.Context) bool
	Logger   *slog.Logger
	Counters *Counters
	Monitor  *telemetry.Monitor // may be nil
	Tracer   *tracing.Tracer    // may be nil
	// Ready is called when a task begins to run.
	Ready func(partition int32)
	// Step is called at each step, of a restore on its own goroutine; a test stops the worker there by an error. May be nil.
	Step func(Step) error
	// FreezeInterval is how long dirty entries wait for the store at most. Default: 10 s.
	FreezeInterval time.Duration
}

// Counters are shared by all workers of a process.
type Counters struct {
	Records, Rejected, Commits, Aborts, Checks, Violations, Misplaced atomic.Int64

	Outputs                          []atomic.Int64 // by output: records of committed transactions
	Removes                          []atomic.Int64 // by state: removes by committed transactions
	Changelog, DeadLetters, Timers   atomic.Int64   // likewise
	Lookups, StoreReads              atomic.Int64   // of state: those that the cache did not answer read the store
	Flushes, FlushedEntries, Durable atomic.Int64   // batches written to the store, and how often that was made durable
}

// Limits of the loop.
const (
	// minCommitInterval is the least time between two commits while there is nothing more to read.
	minCommitInterval = 5 * time.Millisecond
	// clockEvery is how many records are stepped between two looks at the clock, so that slow handlers are committed
	// in time.
	clockEvery = 16
	// A transaction is bounded in records, in what was read, and in what was held back. What it makes the caches grow by is
	// bounded by their budget (see full).
	transactionRecords = 1 << 17
	transactionBytes   = 64 << 20
	transactionHeld    = 16 << 20
	transactionSpans   = 1 << 13 // of traced records, some 1 KiB each
)

// Worker runs tasks. All its methods but Run may be called from other goroutines.
type Worker struct {
	cfg       Config
	inbox     inbox
	held      atomic.Int32
	session   *broker.Session
	current   atomic.Pointer[broker.Session] // the same, for who cuts it
	tasks     map[int32]*owned
	arena     task.Arena
	placement *broker.Placement

	open       bool // a transaction is
	sent       sent // in it
	openedAt   time.Time
	lastCommit time.Time
	member     string // captured when the transaction was opened (R2)
	records    int    // stepped in this transaction
	bytes      int
	grown      int // of the tasks' caches, in bytes, since the last commit
	now        int64
	clock      int
	stable     stable
	restores   map[int32]*restoring
	startBy    time.Time       // when partitions that were opened are read at the latest; zero: there is none
	cacheBytes int             // each task's part
	spans      []*tracing.Span // of this transaction's records
	span       *tracing.Span   // of the record that is stepped
	fencedAt   time.Time

	// The wall clock when the turn began, without the monotonic one, which a suspended machine's does not count; and
	// whether the loop stood still since the last commit, so that others may have owned its partitions meanwhile (R7).
	turnedAt time.Time
	doubtful bool

	answeredAt  time.Time // when questions were last looked at
	recoveredAt time.Time
	retryIn     time.Duration // before the next try to recover
}

// owned is a running task under its lease.
type owned struct {
	task     *task.Task
	epoch    uint64
	identity task.Identity
	mark     restore.Mark
	tracks   []*broker.Tracker // by state: its changelog partition in this session
	letters  *broker.Tracker
	flushing *flushing // the batch under way, nil if none is
	learning *learning // likewise
	frozenAt time.Time
	debt     int // changelog records since then
	reach    reach
	gone     atomic.Bool // given up: what is read of its state in the store may be another's
}

// New makes a worker.
func New(cfg Config) *Worker {
	if cfg.FreezeInterval == 0 {
		cfg.FreezeInterval = freezeInterval
	}
	return &Worker{cfg: cfg, sent: sent{outputs: make([]int64, len(cfg.Topology.Outputs))}, tasks: map[int32]*owned{}, restores: map[int32]*restoring{}, placement: broker.NewPlacement()}
}

// Tasks is how many leases the worker holds.
func (w *Worker) Tasks() int { return int(w.held.Load()) }

// Fatal is an error after which the process must stop, since going on would be wrong or in vain.
type Fatal struct{ Err error }

func (e *Fatal) Error() string { return e.Err.Error() }
func (e *Fatal) Unwrap() error { return e.Err }

// Open makes the worker's session, which ends a dead predecessor's transaction. It is called before the group is
// joined (R13).
func (w *Worker) Open(ctx context.Context) error { return w.openSession(ctx, w.cfg.Session) }

func (w *Worker) openSession(ctx context.Context, cfg broker.SessionConfig) error {
	s, err := w.cfg.Cluster.NewSession(ctx, cfg)
	if err != nil {
		return err
	}
	w.session = s
	w.current.Store(s)
	if ctx.Err() != nil {
		s.Cut()
	}
	s.SetAhead(broker.Ahead{Every: task.AheadEvery, Fn: w.ahead})
	return nil
}

// Run works until ctx is done and all tasks are released, or until a *Fatal. Leases are released by Release alone: the
// caller leaves the group, which releases them, and then cancels ctx.
func (w *Worker) Run(ctx context.Context) error {
	defer w.Close()
	defer w.cfg.Monitor.Ended(w.cfg.Name)
	defer context.AfterFunc(ctx, func() { w.current.Load().Cut() })()
	for {
		err := w.turn(ctx)
		var fatal *Fatal
		switch {
		case errors.As(err, &fatal): // that of a release too, whose end may be that of ctx
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if err := w.recover(ctx, err); err != nil {
				return err
			}
		}
	}
}

// Close ends a worker that never ran, or is called by Run at its end.
func (w *Worker) Close() {
	w.inbox.close()
	for _, r := range w.restores {
		r.cancel()
		<-r.done
	}
	for _, o := range w.tasks {
		o.forget()
	}
	if w.session != nil {
		w.session.Close()
	}
}

// turn is one round: what others asked for, then records, then timers, then perhaps a commit.
func (w *Worker) turn(ctx context.Context) error {
	w.cfg.Monitor.Beat(w.cfg.Name)
	w.began()
	if w.cfg.Cache.each() != w.cacheBytes {
		w.shareCache()
	}
	if err := w.answer(ctx); err != nil {
		return err
	}
	w.start()
	if w.stuffed() {
		return w.hold(ctx)
	}
	if err := w.poll(ctx); err != nil {
		return err
	}
	if err := w.tick(ctx); err != nil {
		return err
	}
	if w.due() {
		if err := w.commit(ctx); err != nil {
			return err
		}
	}
	return w.flushDue()
}

// began notes the turn's time. A loop that stood still for longer than a transaction lasts may be a zombie's: frozen, and
// awake before it was told.
func (w *Worker) began() {
	now := time.Now().Round(0)
	if !w.turnedAt.IsZero() && (now.Sub(w.turnedAt) > w.cfg.Session.TransactionTimeout || now.Before(w.turnedAt)) {
		w.doubtful = true
	}
	w.turnedAt = now
}

// refresh notes that a task's state was the changelog's when the turn began, where that is certain: its partition is owned
// without a break, as far as this process knows, and it has had no time to miss that it is not.
func (w *Worker) refresh(o *owned) bool {
	return !w.doubtful && w.cfg.Epoch(o.task.Partition()) == o.epoch && o.task.Refresh(w.turnedAt.UnixMilli())
}

// hold ends the open transaction and waits for the store.
func (w *Worker) hold(ctx context.Context) error {
	if w.open {
		if err := w.commit(ctx); err != nil {
			return err
		}
	}
	return w.pause(ctx, stuffedPoll)
}
