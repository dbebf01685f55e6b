package reset

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/restore"
	"golang.org/x/sync/errgroup"
)

// Step is a point of an execution.
type Step int

// The steps, in order.
const (
	Fenced    Step = iota // nobody can end a transaction of the application any more
	Stable                // no transaction on its offsets is open
	Marked                // run refuses
	Deleted               // changelogs and internal topics are gone
	Recreated             // changelogs are there, empty
	Done                  // the offsets are set; run goes on from them
	numSteps
)

// Steps is how many there are.
const Steps = int(numSteps)

var stepNames = [numSteps]string{"fenced", "stable", "marked", "deleted", "recreated", "done"}

func (s Step) String() string { return stepNames[s] }

// Limits of the waits.
const (
	fencesAtOnce = 8
	pollInterval = 100 * time.Millisecond
	stableWait   = 2 * time.Minute // of transactions of others on the group's offsets, or of the broker's sweep
	topicWait    = time.Minute     // of a topic's end and its new beginning
	memberWait   = 15 * time.Second
)

// Execute resets. It refuses with ErrLive while members live.
func Execute(ctx context.Context, cfg Config) (*Plan, error) {
	r := &run{Config: cfg, app: cfg.Topology.ID}
	plan, err := r.inspect(ctx)
	if err != nil {
		return nil, err
	}
	if len(plan.Members) > 0 { // of its stages too
		return plan, fmt.Errorf("%w: stop %s first; one that was killed is a member until its session times out", ErrLive, strings.Join(plan.Members, ", "))
	}
	return plan, r.execute(ctx)
}

func (r *run) execute(ctx context.Context) error {
	if err := r.fence(ctx); err != nil {
		return err
	}
	incarnation, err := r.stable(ctx)
	if err != nil {
		return err
	}
	if err := r.mark(ctx, incarnation); err != nil {
		return err
	}
	if err := r.stages(ctx); err != nil {
		return err
	}
	if err := r.delete(ctx); err != nil {
		return err
	}
	changelogs, err := r.recreate(ctx)
	if err != nil {
		return err
	}
	return r.finish(ctx, incarnation, changelogs)
}

func (r *run) done(s Step) error {
	if r.Logger != nil {
		r.Logger.Info("reset", "step", s.String())
	}
	if r.Step == nil {
		return nil
	}
	return r.Step(s)
}

// fence shuts out every process that ever had a transaction: one that is frozen, and wakes later, too.
func (r *run) fence(ctx context.Context) error {
	g, fenceCtx := errgroup.WithContext(ctx)
	g.SetLimit(fencesAtOnce)
	cfg := broker.SessionConfig{TransactionTimeout: r.TransactionTimeout}
	if r.unstable { // perhaps for good, if the brokers lost the end of a transaction
		cfg.Group, cfg.Writes = r.app, r.Topology.Writes()
	}
	for _, id := range r.plan.TransactionalIDs {
		g.Go(func() error {
			return r.Cluster.Fence(fenceCtx, id, cfg)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("fence transactional ids: %w", err)
	}
	return r.done(Fenced)
}

// stable waits until no transaction on the group's offsets is open, and returns the new incarnation.
func (r *run) stable(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, stableWait)
	defer cancel()
	var all []broker.Committed
	for _, t := range r.inputs {
		for {
			committed, err := r.Cluster.Committed(ctx, r.app, t.Name, partitions(t))
			if err == nil {
				err = firstErr(committed)
			}
			if err == nil {
				for _, c := range committed {
					all = append(all, c)
				}
				break
			}
			if !errors.Is(err, broker.ErrUnstable) && !broker.IsRetriable(err) {
				return 0, err
			}
			if err := pause(ctx); err != nil {
				return 0, fmt.Errorf("a transaction on the offsets of group %s, topic %s is still open after %v: end it by kafka-transactions --abort, then repeat the reset", r.app, t.Name, stableWait)
			}
		}
	}
	return nextIncarnation(all, time.Now()), r.done(Stable)
}

func firstErr(all map[int32]broker.Committed) error {
	for _, c := range all {
		if c.Err != nil {
			return c.Err
		}
	}
	return nil
}

// mark makes run refuse until the end. The broker takes it only while the group has no member.
func (r *run) mark(ctx context.Context, incarnation int) error {
	m := restore.Mark{Format: 1, Incarnation: incarnation, Resetting: true}
	if err := r.set(ctx, m); err != nil {
		return err
	}
	return r.done(Marked)
}

// stages resets the applications that fill the internal inputs, which nobody writes to from then on, and takes the ends of
// these as what the reset goes on from.
func (r *run) stages(ctx context.Context) error {
	if len(r.Topology.Before) == 0 {
		return nil
	}
	for _, before := range r.Topology.Before {
		stage := r.stage(before)
		if _, err := stage.inspect(ctx); err != nil {
			return err
		}
		if err := stage.execute(ctx); err != nil {
			return fmt.Errorf("reset %s: %w", before.ID, err)
		}
	}
	for i := range r.plan.Inputs {
		in := &r.plan.Inputs[i]
		if !r.Topology.IsInternal(in.Topic) {
			continue
		}
		bounds, err := r.Cluster.Bounds(ctx, in.Topic)
		if err != nil {
			return err
		}
		in.To = bounds[in.Partition].HW
	}
	return nil
}

// set writes the offsets with a mark. A member that joined by mistake meanwhile reads that a reset is under way, and leaves.
func (r *run) set(ctx context.Context, m restore.Mark) error {
	var offsets []broker.Offset
	for _, in := range r.plan.Inputs {
		for _, t := range r.inputs {
			if t.Name == in.Topic {
				offsets = append(offsets, broker.Offset{Topic: t, Partition: in.Partition, Offset: in.To, Metadata: m.String()})
			}
		}
	}
	deadline := time.Now().Add(memberWait)
	for {
		err := r.Cluster.SetOffsets(ctx, r.app, offsets)
		if err == nil || time.Now().After(deadline) || !errors.Is(err, broker.ErrNotEmpty) && !broker.IsRetriable(err) {
			if errors.Is(err, broker.ErrNotEmpty) {
				return fmt.Errorf("%w: a process joined group %s meanwhile; stop it and repeat the reset", ErrLive, r.app)
			}
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

func (r *run) delete(ctx context.Context) error {
	names := append([]string(nil), r.plan.Deleted...)
	for _, c := range r.plan.Changelogs {
		if c.Exists {
			names = append(names, c.Topic)
		}
	}
	for _, name := range names {
		if err := r.Cluster.Delete(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := r.await(ctx, name, func(_ broker.Topic, err error) bool { return errors.Is(err, broker.ErrNoTopic) }); err != nil {
			return err
		}
	}
	return r.done(Deleted)
}

func (r *run) recreate(ctx context.Context) ([]broker.Topic, error) {
	var made []broker.Topic
	for _, c := range r.plan.Changelogs {
		var topic broker.Topic
		var createErr error
		err := r.await(ctx, c.Topic, func(t broker.Topic, err error) bool {
			topic = t
			if err == nil {
				return t.Partitions == c.Partitions
			}
			createErr = r.Cluster.Create(ctx, c.Topic, c.Partitions, c.Replication, c.Configs)
			return false
		})
		if err != nil {
			return nil, errors.Join(createErr, err)
		}
		made = append(made, topic)
	}
	return made, r.done(Recreated)
}

// await asks for a topic until enough says so.
func (r *run) await(ctx context.Context, name string, enough func(broker.Topic, error) bool) error {
	wait, cancel := context.WithTimeout(ctx, topicWait)
	defer cancel()
	for {
		t, err := r.Cluster.Topic(wait, name)
		if err != nil && !errors.Is(err, broker.ErrNoTopic) && !broker.IsRetriable(err) {
			return err
		}
		if enough(t, err) {
			return nil
		}
		if pause(wait) != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("topic %s is not as it should be within %v: repeat the reset", name, topicWait))
		}
	}
}

// finish sets the offsets with the mark of the new incarnation: from here on run goes on.
func (r *run) finish(ctx context.Context, incarnation int, changelogs []broker.Topic) error {
	c := restore.Config{App: r.app, States: r.Topology.States, Inputs: r.inputs, Changelogs: changelogs}
	if err := r.set(ctx, c.Mark(incarnation)); err != nil {
		return err
	}
	return r.done(Done)
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollInterval):
		return nil
	}
}
