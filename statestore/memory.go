package statestore

import (
	"bytes"
	"errors"
	"slices"
	"sync"
)

// Memory is a Store in memory, for tests. Its content outlives Close.
type Memory struct {
	mu     sync.RWMutex
	values map[string][]byte
	undo   []change // how to get back to the last Flush, oldest first
	closed bool
}

// change is what a key was before an operation.
type change struct {
	key   string
	value []byte
	had   bool
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{values: map[string][]byte{}} }

// Get implements Store.
func (m *Memory) Get(dst, key []byte) ([]byte, bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, false, ErrClosed
	}
	v, ok := m.values[string(key)]
	return append(dst, v...), ok, nil
}

// GetAll implements Store.
func (m *Memory) GetAll(keys *Keys, fn func(key, value []byte, ok bool) error) error {
	type found struct {
		key, value []byte
		ok         bool
	}
	var all []found
	m.mu.RLock()
	if m.closed {
		m.mu.RUnlock()
		return ErrClosed
	}
	for key := range keys.Sorted() {
		value, ok := m.values[string(key)]
		all = append(all, found{key, bytes.Clone(value), ok})
	}
	m.mu.RUnlock()
	for _, f := range all {
		if err := fn(f.key, f.value, f.ok); errors.Is(err, ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
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
			m.note(string(o.Key))
			m.values[string(o.Key)] = bytes.Clone(o.Value)
		case OpDelete:
			m.note(string(o.Key))
			delete(m.values, string(o.Key))
		case OpDeleteRange:
			for _, k := range m.keys(o.Key, o.Value) {
				m.note(k)
				delete(m.values, k)
			}
		}
	}
	return nil
}

func (m *Memory) note(key string) {
	v, had := m.values[key]
	m.undo = append(m.undo, change{key, v, had})
}

// keys returns the keys within bounds, unordered.
func (m *Memory) keys(lower, upper []byte) (keys []string) {
	for k := range m.values {
		if k >= string(lower) && (upper == nil || k < string(upper)) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Scan implements Store.
func (m *Memory) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	m.mu.RLock()
	if m.closed {
		m.mu.RUnlock()
		return ErrClosed
	}
	keys := m.keys(lower, upper)
	slices.Sort(keys)
	values := make([][]byte, len(keys))
	for i, k := range keys {
		values[i] = m.values[k]
	}
	m.mu.RUnlock()
	for i, k := range keys {
		if err := fn([]byte(k), bytes.Clone(values[i])); errors.Is(err, ErrStop) {
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
	m.undo = nil
	return nil
}

// Close implements Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.undo, m.closed = nil, true
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
	for _, c := range slices.Backward(m.undo) {
		if c.had {
			m.values[c.key] = c.value
		} else {
			delete(m.values, c.key)
		}
	}
	m.undo, m.closed = nil, false
}
