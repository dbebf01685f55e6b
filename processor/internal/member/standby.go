package member

import (
	"cmp"
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
)

// standbyPoll is how often the group is asked who is in it.
const standbyPoll = 2 * time.Second

// Standbys keeps warm copies of partitions that other members own. Which member keeps which copy needs no agreement: each
// ranks all members by a hash of partition and instance, and keeps the copies for which it is among the first.
type Standbys struct {
	group  *Group
	copies int
	// follow keeps one copy until its context is done.
	follow func(ctx context.Context, partition int32) error

	mu        sync.Mutex
	followers map[int32]*follower
	failed    chan error
}

type follower struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// NewStandbys makes the copies' keeper: how many copies there shall be of each partition, and how one is kept.
func NewStandbys(copies int, follow func(ctx context.Context, partition int32) error) *Standbys {
	return &Standbys{copies: copies, follow: follow, followers: map[int32]*follower{}, failed: make(chan error, 1)}
}

// Run keeps copies until ctx is done or one of them cannot be kept. It ends after all of them.
func (s *Standbys) Run(ctx context.Context, g *Group) error {
	s.mu.Lock()
	s.group = g
	s.mu.Unlock()
	defer s.stopAll()
	tick := time.NewTicker(standbyPoll)
	defer tick.Stop()
	for {
		if members, err := g.cfg.Cluster.Owners(ctx, g.cfg.Group, g.cfg.Topic); err == nil {
			s.keep(ctx, members)
		} else if ctx.Err() == nil {
			g.cfg.Logger.Debug("ask who is in the group", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-tick.C:
		}
	}
}

// keep starts and stops followers, so that they are those which the group's members call for.
func (s *Standbys) keep(ctx context.Context, members []broker.GroupMember) {
	for p := range s.group.cfg.Partitions {
		if s.mine(p, members) {
			s.start(ctx, p)
		} else {
			s.Stop(p)
		}
	}
}

// mine reports whether this member is to keep a copy of a partition.
func (s *Standbys) mine(p int32, members []broker.GroupMember) bool {
	var others []string
	for _, m := range members {
		if !slices.Contains(m.Partitions, p) {
			others = append(others, m.Instance)
		}
	}
	slices.SortFunc(others, func(a, b string) int { return cmp.Compare(rank(p, a), rank(p, b)) })
	return slices.Contains(others[:min(s.copies, len(others))], s.group.cfg.InstanceID)
}

func rank(p int32, instance string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(p >> 24), byte(p >> 16), byte(p >> 8), byte(p)})
	_, _ = h.Write([]byte(instance))
	return h.Sum64()
}

// start begins to keep a copy, unless the partition is this member's own by now (R11).
func (s *Standbys) start(ctx context.Context, p int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.followers[p] != nil || s.group.Epoch(p) != 0 || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{cancel: cancel, done: make(chan struct{})}
	s.followers[p] = f
	go func() {
		defer close(f.done)
		if err := s.follow(ctx, p); err != nil {
			select {
			case s.failed <- err:
			default:
			}
		}
	}()
}

// Stop ends the copy of a partition and returns when nothing writes it any more.
func (s *Standbys) Stop(p int32) {
	s.mu.Lock()
	f := s.followers[p]
	delete(s.followers, p)
	s.mu.Unlock()
	if f != nil {
		f.cancel()
		<-f.done
	}
}

func (s *Standbys) stopAll() {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.followers))
	s.mu.Unlock()
	for _, p := range all {
		s.Stop(p)
	}
}
