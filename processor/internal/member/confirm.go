package member

import (
	"context"
	"errors"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
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
	member, err := g.ask(ctx)
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

// ask returns the member id that the coordinator takes this process for, after the call.
func (g *Group) ask(ctx context.Context) (string, error) {
	return g.confirm.Do(ctx, func() (string, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout) // others wait for it too
		defer cancel()
		return g.member.Load().Confirm(ctx)
	})
}

// Out reports whether the coordinator does not take this process for a member. Without its answer it may be one.
func (g *Group) Out(ctx context.Context) bool {
	_, err := g.ask(ctx)
	return errors.Is(err, broker.ErrNotMember)
}
