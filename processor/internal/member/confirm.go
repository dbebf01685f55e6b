package member

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Bounds of a confirmation.
const (
	// confirmInterval is the least time between two heartbeats for it.
	confirmInterval = 5 * time.Millisecond
	confirmTimeout  = 2 * time.Second
)

// ErrNotOwned says that the partition is not this process's.
var ErrNotOwned = errors.New("the partition is not owned")

// Lease is a partition that this process owns, since an epoch began, and who holds it.
type Lease struct {
	Holder    Holder
	Partition int32
	Epoch     uint64
	member    string // who this process was then
}

// Lease returns the one on a partition. Safe for concurrent use.
func (g *Group) Lease(p int32) (Lease, error) {
	if int(p) >= len(g.given) {
		return Lease{}, ErrNotOwned
	}
	l := g.given[p].Load()
	if l == nil {
		return Lease{}, ErrNotOwned
	}
	return *l, nil
}

// Held reports whether the partition was held, without a break, from when the epoch began until a time after the call. An
// error says that the coordinator did not answer.
func (g *Group) Held(ctx context.Context, p int32, epoch uint64) (bool, error) {
	l, err := g.Lease(p)
	if err != nil || l.Epoch != epoch {
		return false, nil
	}
	if err = g.Confirmed(ctx, l); errors.Is(err, ErrNotOwned) {
		return false, nil
	}
	return err == nil, err
}

// Confirmed returns nil if all leases were held, without a break, from when they were given until a time after the call.
// Whatever was read under them before the call was the newest committed value then: nobody else has owned the partitions
// since.
//
// It asks the coordinator, by a heartbeat that is sent after the call and that all callers who wait share. That the last
// heartbeat was young would say less: a process may have been started a second time with this one's instance id, which
// takes the partitions at once, and a machine that was suspended has a clock that was, too.
func (g *Group) Confirmed(ctx context.Context, leases ...Lease) error {
	member, err := g.confirm.wait(ctx, g.member.Load().Confirm)
	if err != nil {
		return err
	}
	for _, l := range leases {
		if l.member != member || g.Epoch(l.Partition) != l.Epoch {
			return ErrNotOwned
		}
	}
	return nil
}

// confirmer lets callers share one question, each one that begins after its call.
type confirmer struct {
	turn chan struct{} // has room for the one whose question is under way

	mu   sync.Mutex
	next *round
	last time.Time // when the last question began; belongs to whose turn it is
}

type round struct {
	done   chan struct{}
	member string
	err    error
}

func newConfirmer() *confirmer { return &confirmer{turn: make(chan struct{}, 1)} }

func (c *confirmer) wait(ctx context.Context, ask func(context.Context) (string, error)) (string, error) {
	c.mu.Lock()
	r := c.next
	first := r == nil
	if first {
		r = &round{done: make(chan struct{})}
		c.next = r
	}
	c.mu.Unlock()
	if first {
		c.run(context.WithoutCancel(ctx), r, ask) // others wait for it too
	}
	select {
	case <-r.done:
		return r.member, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (c *confirmer) run(ctx context.Context, r *round, ask func(context.Context) (string, error)) {
	c.turn <- struct{}{} // bounded: each question has a time-out
	defer func() { <-c.turn }()
	time.Sleep(confirmInterval - time.Since(c.last))
	c.last = time.Now()
	c.mu.Lock()
	c.next = nil // who comes from here on needs a later question
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	r.member, r.err = ask(ctx)
	close(r.done)
}
