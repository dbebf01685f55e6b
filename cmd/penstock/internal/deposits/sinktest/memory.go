package sinktest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/penstock/penstock/cmd/penstock/internal/deposits"
)

// Memory is a Store and a Sink for tests of what stands before a sink. Its zero value is an empty one.
type Memory struct {
	// Before and After are asked around each call of "prepare", "claim" and "write", and may return an error: Before instead
	// of the effect, After in spite of it.
	Before, After func(call string) error

	mu    sync.Mutex
	rows  map[place]deposits.Deposit
	parts map[place]*partition // place without offset
}

type place struct {
	topic     string
	partition int32
	offset    int64
}

type partition struct {
	source deposits.Source
	owner  string
	next   int64
	epoch  int64
}

// Open implements Store.
func (m *Memory) Open(*testing.T) deposits.Sink { return m }

// Stored implements Store.
func (m *Memory) Stored(*testing.T) []deposits.Deposit {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []deposits.Deposit
	for _, d := range m.rows {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b deposits.Deposit) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	return all
}

// Set puts a partition to an offset, as a hand in the database would.
func (m *Memory) Set(topic string, of int32, next int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parts[place{topic, of, 0}].next = next
}

func (m *Memory) call(name string, effect func() error) error {
	if m.Before != nil {
		if err := m.Before(name); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := effect()
	m.mu.Unlock()
	if err == nil && m.After != nil {
		err = m.After(name)
	}
	return err
}

// Prepare implements deposits.Sink.
func (m *Memory) Prepare(context.Context) error {
	return m.call("prepare", func() error { return nil })
}

// Claim implements deposits.Sink.
func (m *Memory) Claim(_ context.Context, s deposits.Source, owner string, begin map[int32]int64) (map[int32]deposits.Claim, error) {
	claims := map[int32]deposits.Claim{}
	return claims, m.call("claim", func() error {
		for p := range begin {
			if at := m.parts[place{s.Topic, p, 0}]; at != nil && at.source != s {
				return deposits.Foreign(p, at.source, s)
			}
		}
		for p, offset := range begin {
			at := m.parts[place{s.Topic, p, 0}]
			if at == nil {
				at = &partition{source: s, next: offset}
				m.keep(s.Topic, p, at)
			}
			at.owner = owner
			at.epoch++
			claims[p] = deposits.Claim{Next: at.next, Epoch: at.epoch}
		}
		return nil
	})
}

func (m *Memory) keep(topic string, p int32, at *partition) {
	if m.parts == nil {
		m.parts, m.rows = map[place]*partition{}, map[place]deposits.Deposit{}
	}
	m.parts[place{topic, p, 0}] = at
}

// Write implements deposits.Sink.
func (m *Memory) Write(_ context.Context, b *deposits.Batch) error {
	return m.call("write", func() error {
		for p, is := range b.Progress {
			at := m.parts[place{b.Source.Topic, p, 0}]
			if at == nil || at.owner != b.Owner || at.epoch != is.Epoch || at.next != is.First {
				return deposits.ErrTakenOver
			}
		}
		for p, is := range b.Progress {
			m.parts[place{b.Source.Topic, p, 0}].next = is.Next
		}
		for _, d := range b.Deposits {
			at := place{b.Source.Topic, d.Partition, d.Offset}
			if _, there := m.rows[at]; there {
				panic("a deposit is written twice")
			}
			d.SessionID = strings.Clone(d.SessionID)
			m.rows[at] = d
		}
		return nil
	})
}

// Close implements deposits.Sink.
func (m *Memory) Close() {}
