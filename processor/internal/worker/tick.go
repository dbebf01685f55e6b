package worker

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
)

// Limits of timers.
const (
	// tickTimers is how many timers fire between two looks at the clock.
	tickTimers = 1024
	// stableInterval is the least time between two questions for the inputs' last stable offsets.
	stableInterval = 20 * time.Millisecond
	stableTimeout  = time.Second
	stableRetry    = time.Second
)

// reach is what a task must have processed before a wall-clock timer whose deadline is not after at fires: the inputs' last
// stable offsets, as they were asked for at that time or later (R12). The client does not tell of fetches that held no
// record, so they are asked for.
type reach struct {
	at     int64   // Unix milliseconds
	stable []int64 // by input
}

// stable is the last answer, for all partitions.
type stable struct {
	asked time.Time
	again time.Time                 // not before
	ends  []map[int32]broker.Bounds // by input; nil: there is none
}

// tick fires the timers that are due, until none is or the transaction has lasted long enough. They open one by
// themselves (R2).
func (w *Worker) tick(ctx context.Context) error {
	if len(w.cfg.Topology.Timers) == 0 {
		return nil
	}
	for _, o := range w.tasks {
		if err := w.tickTask(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

func (w *Worker) tickTask(ctx context.Context, o *owned) error {
	wall := w.wall(ctx, o)
	if due, err := o.task.Due(wall); err != nil || !due {
		return err
	}
	for more := true; more && !w.due(); {
		if err := w.ensureOpen(); err != nil {
			return err
		}
		held := o.task.CacheBytes()
		var n int
		var err error
		if n, more, err = o.task.Tick(wall, time.Now().UnixMilli(), tickTimers); err != nil {
			return w.stepFailed(err)
		}
		w.records += n
		w.grew(o, held)
		w.produceOf(o)
	}
	return nil
}

// wall is the time up to which the task's wall-clock timers may fire (R12).
func (w *Worker) wall(ctx context.Context, o *owned) int64 {
	next, ok := o.task.NextTimer()
	if !ok || next > time.Now().UnixMilli() {
		return math.MinInt64
	}
	if o.reach.at < next {
		w.ask(ctx, o, next)
	}
	if o.reach.at < next {
		return math.MinInt64
	}
	for input, end := range o.reach.stable {
		if o.task.Next(input) < end {
			return math.MinInt64 // the waiting records come first
		}
	}
	return o.reach.at
}

// ask finds what the task must reach for deadlines up to now. One question serves all tasks; without an answer their timers
// wait.
func (w *Worker) ask(ctx context.Context, o *owned, next int64) {
	if now := time.Now(); w.stable.asked.UnixMilli() < next && now.After(w.stable.again) {
		ctx, cancel := context.WithTimeout(ctx, stableTimeout)
		defer cancel()
		w.stable = stable{asked: now, again: now.Add(stableInterval)}
		for _, topic := range w.cfg.Session.Inputs {
			b, err := w.cfg.Cluster.Bounds(ctx, topic.Name)
			if err != nil {
				w.cfg.Logger.Warn("timers wait: the inputs' ends are not known", "worker", w.cfg.Name, "error", err)
				w.stable = stable{again: time.Now().Add(stableRetry)}
				return
			}
			w.stable.ends = append(w.stable.ends, b)
		}
	}
	if w.stable.asked.UnixMilli() < next {
		return
	}
	o.reach = reach{at: w.stable.asked.UnixMilli()}
	for _, ends := range w.stable.ends {
		o.reach.stable = append(o.reach.stable, ends[o.task.Partition()].LSO)
	}
}

// idle is how long a wait for records may last: until a timer is due, or may be asked about again.
func (w *Worker) idle() time.Duration {
	rest := idleWait
	for _, o := range w.tasks {
		next, ok := o.task.NextTimer()
		if !ok {
			continue
		}
		until := time.Until(time.UnixMilli(next))
		if until <= 0 && o.reach.at < next {
			until = time.Until(w.stable.again)
		}
		if until <= 0 && o.reach.at >= next {
			continue // a record ends the wait
		}
		rest = min(rest, max(until, time.Millisecond))
	}
	return rest
}

// errReleased says that the record's partition was given up before it was stepped.
var errReleased = errors.New("the partition was released")

// stepRecord steps a record after the timers that go before it, which may be more than one transaction should hold.
func (w *Worker) stepRecord(ctx context.Context, o *owned, r *topology.Record) error {
	for {
		held := o.task.CacheBytes()
		err := o.task.Step(r, w.now)
		w.grew(o, held)
		if err == nil || !errors.Is(err, task.ErrTimersFirst) {
			return err
		}
		w.records += task.Firings
		w.produceOf(o)
		if !w.due() {
			continue
		}
		if err := w.commitWithin(ctx); err != nil {
			return err
		}
		if w.tasks[r.Partition] != o {
			return errReleased
		}
		if err := w.ensureOpen(); err != nil {
			return err
		}
	}
}
