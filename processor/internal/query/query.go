// Package query answers for committed state: of the process's own partitions from its workers and its store, of others by
// asking the instance that owns them.
//
// An answer is the newest committed value at some time between the question and the answer. So none is older than one that
// was given before it was asked for, over takeovers too, and an open transaction's values are not seen (R1). The owner
// reads first, and then asks the coordinator whether it still owns the partition (member.Group.Confirmed): a process that
// was frozen and woke, or that another one has replaced, answers nothing. What cannot be answered now, and may be soon, is
// an [UnavailableError].
package query

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/member"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// Config is what a Server is made from.
type Config struct {
	Topology   *topology.Topology
	Partitions int32 // of each input, and so of the state
	Instance   string
	Group      *member.Group
	Cluster    *broker.Cluster
	Store      statestore.Store
	// Client asks other instances, Token is the bearer token that they want; empty: none.
	Client *http.Client
	Token  string
}

// Server answers questions. It is safe for concurrent use.
type Server struct {
	cfg    Config
	states map[string]int // index into Topology.States
	owners owners
	// Lists under way, those that other instances ask for apart: two that wait for each other would wait in vain.
	lists, hops chan struct{}
}

// maxLists bounds the lists under way, each of which holds up to MaxLimit values of a partition twice.
const maxLists = 8

// enter waits for a list's turn. leave ends it.
func enter(ctx context.Context, turns chan struct{}) (leave func(), err error) {
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// New makes a server for a group that was joined.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, states: map[string]int{}, lists: make(chan struct{}, maxLists), hops: make(chan struct{}, maxLists)}
	timers := map[int]bool{}
	for _, t := range cfg.Topology.Timers {
		timers[t.State] = true
	}
	for i, name := range cfg.Topology.States {
		if !timers[i] {
			s.states[name] = i
		}
	}
	s.owners.list = func(ctx context.Context) ([]broker.GroupMember, error) {
		return cfg.Cluster.Owners(ctx, cfg.Topology.ID, cfg.Topology.Inputs[0])
	}
	return s
}

// Timeout bounds a question that its asker does not bound.
const Timeout = 5 * time.Second

// retryAfter is what askers are told while a partition changes hands.
const retryAfter = time.Second

// UnavailableError says that there is no answer now: the partition is being taken over, its owner is not known or does not
// answer, or this process cannot prove that it owns it. Ask again after RetryAfter.
type UnavailableError struct {
	Why        string
	RetryAfter time.Duration
}

func (e *UnavailableError) Error() string { return "no answer at present: " + e.Why }

func unavailable(format string, args ...any) error {
	return &UnavailableError{fmt.Sprintf(format, args...), retryAfter}
}

// ErrNoState says that the application has no state of that name.
var ErrNoState = errors.New("the application has no such state")

// errElsewhere says that another instance owns the partition.
var errElsewhere = errors.New("another instance owns the partition")

// Value is the answer for one key.
type Value struct {
	Partition int32
	Instance  string // who answered
	Key       []byte
	Value     []byte
	Exists    bool // false: the key has no committed value
}

// state returns the index of a state.
func (s *Server) state(name string) (int, error) {
	i, ok := s.states[name]
	if !ok {
		return 0, fmt.Errorf("%w: %q", ErrNoState, name)
	}
	return i, nil
}

// Get returns the committed value of a key. With hop it asks the owner where that is another instance.
func (s *Server) Get(ctx context.Context, state string, key []byte, hop bool) (Value, error) {
	index, err := s.state(state)
	if err != nil {
		return Value{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	p := broker.PartitionOf(key, s.cfg.Partitions)
	v, err := s.localGet(ctx, p, index, key)
	if !errors.Is(err, errElsewhere) {
		return v, s.explain(err)
	}
	if !hop {
		return v, unavailable("instance %s does not own partition %d", s.cfg.Instance, p)
	}
	err = s.atOwner(ctx, p, func(o owner) error {
		v, err = s.remoteGet(ctx, o, state, key)
		return err
	})
	return v, s.explain(err)
}

// explain turns what may pass into an UnavailableError.
func (s *Server) explain(err error) error {
	var un *UnavailableError
	switch {
	case err == nil, errors.As(err, &un), errors.Is(err, ErrNoState), errors.Is(err, context.Canceled), statestore.IsCorrupt(err):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable("no answer in time")
	}
	return unavailable("%v", err)
}

// Range is the part of a state that a List asks for.
type Range struct {
	Prefix []byte // of the keys
	After  []byte // only keys above this one; nil: all
	Limit  int    // 1 to MaxLimit
}

// MaxLimit bounds the answer to one List.
const MaxLimit = 1000

// List returns the first values of a range in the order of their keys, over all partitions, and whether there are more. Each
// is the newest committed one at some time during the call; together they are no snapshot.
func (s *Server) List(ctx context.Context, state string, r Range) (values []Value, more bool, err error) {
	index, err := s.state(state)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	leave, err := enter(ctx, s.lists)
	if err != nil {
		return nil, false, s.explain(err)
	}
	defer leave()
	var own []int32
	others := map[owner][]int32{}
	for p := range s.cfg.Partitions {
		if _, err := s.cfg.Group.Lease(p); err == nil {
			own = append(own, p)
			continue
		}
		o, err := s.owner(ctx, p)
		if err != nil {
			s.owners.doubt()
			return nil, false, s.explain(err)
		}
		others[o] = append(others[o], p)
	}
	if values, err = s.listAll(ctx, state, index, own, others, r); err != nil {
		return nil, false, s.explain(err)
	}
	values, more = first(values, r.Limit)
	return values, more, nil
}

// ListOf is List for some partitions, all of them this instance's.
func (s *Server) ListOf(ctx context.Context, state string, partitions []int32, r Range) (values []Value, more bool, err error) {
	index, err := s.state(state)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	leave, err := enter(ctx, s.hops)
	if err != nil {
		return nil, false, s.explain(err)
	}
	defer leave()
	if values, err = s.localList(ctx, index, partitions, r); err != nil {
		return nil, false, s.explain(err)
	}
	values, more = first(values, r.Limit)
	return values, more, nil
}

// first sorts values by key and cuts them.
func first(values []Value, limit int) ([]Value, bool) {
	slices.SortFunc(values, func(a, b Value) int { return slices.Compare(a.Key, b.Key) })
	if len(values) > limit {
		return values[:limit], true
	}
	return values, false
}
