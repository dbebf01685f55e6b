package statestore

import (
	"bytes"
	"maps"
	"slices"
	"sync"
)

// Memory is a Store in memory, for tests.
type Memory struct {
	mu      sync.Mutex
	now     map[string][]byte
	durable map[string][]byte
	closed  bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{now: map[string][]byte{}, durable: map[string][]byte{}}
}

// Get implements Store.
func (m *Memory) Get(dst, key []byte) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, false, ErrClosed
	}
	v, ok := m.now[string(key)]
	return append(dst, v...), ok, nil
}

// Apply implements Store.
func (m *Memory) Apply(b *Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	for o := range b.All() {
		switch o.Kind {
		case OpSet:
			m.now[string(o.Key)] = bytes.Clone(o.Value)
		case OpDelete:
			delete(m.now, string(o.Key))
		case OpDeleteRange:
			maps.DeleteFunc(m.now, func(k string, _ []byte) bool { return k >= string(o.Key) && k < string(o.Value) })
		}
	}
	return nil
}

// Scan implements Store.
func (m *Memory) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	all := maps.Clone(m.now)
	m.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if k < string(lower) || upper != nil && k >= string(upper) {
			continue
		}
		if err := fn([]byte(k), all[k]); err == ErrStop {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Flush implements Store.
func (m *Memory) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.durable = maps.Clone(m.now)
	return nil
}

// Close implements Store.
func (m *Memory) Close() error {
	if err := m.Flush(); err != nil {
		return err // closed already
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

// Reopen opens a closed store again.
func (m *Memory) Reopen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = false
}

// Crash leaves what the last Flush made durable, and opens the store again.
func (m *Memory) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now, m.closed = maps.Clone(m.durable), false
}
