// Package member knows the group: which partitions this process owns, since when without a break, and which worker
// holds the lease on each.
package member

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/gather"
)

// Holder runs tasks. Acquire returns at once; Release returns when the task is stopped, its state is in the store and
// nothing of it is cached (R11). commit says whether its open transaction may still be committed.
type Holder interface {
	Acquire(partition int32, epoch uint64)
	Release(partition int32, commit bool)
	Tasks() int // leases held
}

// Config is what a Group is made from.
type Config struct {
	Cluster        *broker.Cluster
	Group          string
	InstanceID     string
	Topic          string // the first input
	Partitions     int32
	SessionTimeout time.Duration
	Advertise      string // where this process answers queries; empty: nowhere
	// Have is how far the local copy of a partition's state goes into its changelogs, 0 if there is none.
	Have    func(partition int32) int64
	Holders []Holder
	Joined  func(bool)            // told of each assignment, an empty one too, and of a loss; may be nil
	Taking  func(partition int32) // called before a partition is acquired; may be nil
	Logger  *slog.Logger
}

// Group is this process's membership and the leases under it.
type Group struct {
	cfg    Config
	member atomic.Pointer[broker.Member]
	// epochs[p] is the ownership epoch of partition p: 0 while it is not owned, and never the same number twice (R2).
	epochs  []atomic.Uint64
	given   []atomic.Pointer[Lease] // nil while the epoch is 0
	counter uint64
	leases  map[int32]Holder
	confirm gather.Asker[string]
}

// Join joins the group. The holders must be ready for Acquire.
func Join(cfg Config) (*Group, error) {
	g := &Group{cfg: cfg, epochs: make([]atomic.Uint64, cfg.Partitions), given: make([]atomic.Pointer[Lease], cfg.Partitions),
		leases: map[int32]Holder{}}
	g.confirm.Pause = confirmInterval
	return g, g.join()
}

func (g *Group) join() error {
	ready := make(chan struct{}) // the callbacks may run before Join has returned
	wait := func(fn func([]int32)) func([]int32) {
		return func(ps []int32) { <-ready; fn(ps) }
	}
	m, err := g.cfg.Cluster.Join(broker.MemberConfig{
		Group: g.cfg.Group, InstanceID: g.cfg.InstanceID, Topic: g.cfg.Topic, SessionTimeout: g.cfg.SessionTimeout, Advertise: g.cfg.Advertise,
		Have: g.have, Plan: Plan,
		Assigned: wait(g.assigned), Revoked: wait(g.revoked), Lost: wait(g.lost),
	})
	if err != nil {
		return err
	}
	g.member.Store(m)
	close(ready)
	return nil
}

func (g *Group) have() []int64 {
	list := make([]int64, g.cfg.Partitions)
	for p := range list {
		list[p] = g.cfg.Have(int32(p))
	}
	return list
}

func (g *Group) assigned(ps []int32) {
	defer g.tell(true)
	if len(ps) == 0 {
		return
	}
	g.cfg.Logger.Info("partitions assigned", "partitions", ps)
	for _, p := range ps {
		if int(p) >= len(g.epochs) {
			g.cfg.Logger.Error("a partition was added to the input while running; it is not processed until a restart with a changelog of equal partition count",
				"topic", g.cfg.Topic, "partition", p, "known_partitions", len(g.epochs))
			continue
		}
		if g.leases[p] != nil {
			continue
		}
		g.counter++
		g.epochs[p].Store(g.counter)
		if g.cfg.Taking != nil {
			g.cfg.Taking(p)
		}
		h := g.least()
		g.leases[p] = h
		g.given[p].Store(&Lease{h, p, g.counter, g.Membership().MemberID})
		h.Acquire(p, g.counter)
	}
}

// least is the holder with the fewest leases.
func (g *Group) least() Holder {
	best := g.cfg.Holders[0]
	for _, h := range g.cfg.Holders[1:] {
		if h.Tasks() < best.Tasks() {
			best = h
		}
	}
	return best
}

func (g *Group) revoked(ps []int32) {
	g.cfg.Logger.Info("partitions revoked", "partitions", ps)
	g.release(ps, true)
	for _, p := range ps {
		g.disown(p)
	}
}

func (g *Group) lost(ps []int32) {
	g.cfg.Logger.Warn("partitions lost", "partitions", ps)
	g.tell(false)
	for _, p := range ps {
		g.disown(p)
	}
	g.release(ps, false)
}

func (g *Group) tell(joined bool) {
	if g.cfg.Joined != nil {
		g.cfg.Joined(joined)
	}
}

func (g *Group) disown(p int32) {
	if int(p) < len(g.epochs) {
		g.epochs[p].Store(0)
		g.given[p].Store(nil)
	}
}

func (g *Group) release(ps []int32, commit bool) {
	for _, p := range ps {
		if h := g.leases[p]; h != nil {
			h.Release(p, commit)
			delete(g.leases, p)
		}
	}
}

// Epoch is the ownership epoch of a partition, 0 if it is not owned. Safe for concurrent use.
func (g *Group) Epoch(partition int32) uint64 { return g.epochs[partition].Load() }

// Membership is the current one. Safe for concurrent use.
func (g *Group) Membership() broker.Membership { return g.member.Load().Membership() }

// fencedAgain is how soon a second fencing shows another process of the same instance id.
const fencedAgain = time.Minute

// Watch returns when the membership cannot go on, or ctx is done.
//
// A member is fenced by another process that joined under its instance id, and also by a coordinator that crashed before
// it had written down the member's join. These look alike, so the first one is answered by a new join, which fences the
// other process if there is one; a second one within a minute is a duel, and ends here (R13).
func (g *Group) Watch(ctx context.Context) error {
	for last := (time.Time{}); ; last = time.Now() {
		m := g.member.Load()
		err := m.Watch(ctx) // the loss of all partitions has been told when it returns
		if !errors.Is(err, broker.ErrInstanceFenced) || !last.IsZero() && time.Since(last) < fencedAgain {
			return err
		}
		g.cfg.Logger.Warn("the group's coordinator knows this instance id as another member's: it crashed and forgot the last join, or another process uses the id. It is joined again", "error", err)
		m.Close()
		if err := g.join(); err != nil {
			return err
		}
	}
}

// Leave gives all partitions away and, unless stay is set, leaves the group.
func (g *Group) Leave(ctx context.Context, stay bool) {
	m := g.member.Load()
	err := m.Drain(ctx)
	if err == nil && !stay {
		err = m.Leave(ctx)
	}
	if err != nil {
		g.cfg.Logger.Warn("the group was not left; it waits for the session time-out", "error", err)
	}
	m.Close()
}
