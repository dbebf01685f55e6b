package query

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/penstock/penstock/processor/internal/member"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore"
)

// asked is a worker.
type asked interface {
	Ask(ctx context.Context, q worker.Question) (worker.Held, error)
}

// lease returns this process's lease on a partition and who holds it.
func (s *Server) lease(p int32) (member.Lease, asked, error) {
	l, err := s.cfg.Group.Lease(p)
	if err != nil {
		return l, nil, errElsewhere
	}
	return l, l.Holder.(asked), nil
}

// localGet answers for an own partition. Only the look into the cache happens on the worker's goroutine; the store is read
// on the asker's.
func (s *Server) localGet(ctx context.Context, p int32, state int, key []byte) (Value, error) {
	lease, holder, err := s.lease(p)
	if err != nil {
		return Value{}, err
	}
	v := Value{Partition: p, Instance: s.cfg.Instance, Key: key}
	known := false
	held, err := holder.Ask(ctx, worker.Question{Partition: p, Epoch: lease.Epoch, Look: func(t *task.Task) {
		var value []byte
		value, v.Exists, known = t.Committed(state, key)
		v.Value = bytes.Clone(value)
	}})
	if err != nil {
		return Value{}, s.ownerFailed(p, err)
	}
	if !known {
		prefix := task.StatePrefix(p, s.cfg.Topology.States[state])
		if v.Value, v.Exists, err = s.cfg.Store.Get(nil, append(prefix, key...)); err != nil {
			return Value{}, err
		}
		if !held.Still() {
			return Value{}, s.ownerFailed(p, worker.ErrNotServed)
		}
	}
	if err := s.cfg.Group.Confirmed(ctx, lease); err != nil {
		return Value{}, s.ownerFailed(p, err)
	}
	if !v.Exists {
		v.Value = nil
	} else if v.Value == nil {
		v.Value = []byte{}
	}
	return v, nil
}

func (s *Server) ownerFailed(p int32, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, member.ErrNotOwned) {
		return err
	}
	return unavailable("partition %d at instance %s: %v", p, s.cfg.Instance, err)
}

// localList answers for own partitions, one after the other, and lets the coordinator confirm them together.
func (s *Server) localList(ctx context.Context, state int, partitions []int32, r Range) ([]Value, error) {
	var all []Value
	var leases []member.Lease
	for _, p := range partitions {
		lease, holder, err := s.lease(p)
		if err != nil {
			return nil, unavailable("instance %s does not own partition %d", s.cfg.Instance, p)
		}
		values, err := s.scan(ctx, lease, holder, state, r)
		if err != nil {
			return nil, s.ownerFailed(p, err)
		}
		all, _ = first(append(all, values...), r.Limit+1)
		leases = append(leases, lease)
	}
	if len(leases) == 0 {
		return nil, nil
	}
	if err := s.cfg.Group.Confirmed(ctx, leases...); err != nil {
		return nil, s.ownerFailed(partitions[0], err)
	}
	return all, nil
}

// fresh is a committed value that the store may lack.
type fresh struct {
	key    string
	value  []byte
	exists bool
}

// scan returns at least the first Limit+1 values of a range that a partition has, in no order.
func (s *Server) scan(ctx context.Context, lease member.Lease, holder asked, state int, r Range) ([]Value, error) {
	var above []fresh
	held, err := holder.Ask(ctx, worker.Question{Partition: lease.Partition, Epoch: lease.Epoch, Long: true, Look: func(t *task.Task) {
		t.Unapplied(state, func(key string, value []byte, exists bool) {
			if strings.HasPrefix(key, string(r.Prefix)) && (r.After == nil || key > string(r.After)) {
				above = append(above, fresh{strings.Clone(key), bytes.Clone(value), exists})
			}
		})
	}})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(above, func(a, b fresh) int { return cmp.Compare(a.key, b.key) })
	above = slices.CompactFunc(above, func(a, b fresh) bool { return a.key == b.key })
	values, err := s.scanStore(ctx, lease.Partition, state, r, above)
	if err != nil {
		return nil, err
	}
	if !held.Still() {
		return nil, worker.ErrNotServed
	}
	for n, f := 0, 0; f < len(above) && n <= r.Limit; f++ {
		if above[f].exists {
			values = append(values, s.value(lease.Partition, []byte(above[f].key), above[f].value))
			n++
		}
	}
	return values, nil
}

// scanStore returns the first Limit+1 values that the store has and above does not replace.
func (s *Server) scanStore(ctx context.Context, p int32, state int, r Range, above []fresh) ([]Value, error) {
	prefix := task.StatePrefix(p, s.cfg.Topology.States[state])
	lower := slices.Concat(prefix, r.Prefix)
	upper := successor(slices.Clone(lower))
	if r.After != nil && bytes.Compare(r.After, r.Prefix) >= 0 {
		lower = slices.Concat(prefix, r.After, []byte{0})
	}
	if bytes.Compare(lower, upper) >= 0 {
		return nil, nil
	}
	var values []Value
	err := s.cfg.Store.Scan(lower, upper, func(key, value []byte) error {
		key = key[len(prefix):]
		if _, replaced := slices.BinarySearchFunc(above, key, func(f fresh, k []byte) int { return cmp.Compare(f.key, string(k)) }); !replaced {
			values = append(values, s.value(p, bytes.Clone(key), append([]byte{}, value...)))
		}
		if len(values) > r.Limit {
			return statestore.ErrStop
		}
		return ctx.Err()
	})
	return values, err
}

func (s *Server) value(p int32, key, value []byte) Value {
	return Value{Partition: p, Instance: s.cfg.Instance, Key: key, Value: value, Exists: true}
}

// successor turns prefix, in place, into the first key above all that begin with it; a state's prefix holds a byte below 255.
func successor(prefix []byte) []byte {
	for prefix[len(prefix)-1] == 0xff {
		prefix = prefix[:len(prefix)-1]
	}
	prefix[len(prefix)-1]++
	return prefix
}
