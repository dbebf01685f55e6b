// Package statestore keeps bytes by key. A [Store] is a cache of what a changelog holds: it need not be durable at once,
// but what it keeps over a crash is a prefix of what was applied.
package statestore

import (
	"errors"
	"syscall"
)

// Store keeps bytes by key, ordered bytewise. It is safe for concurrent use.
type Store interface {
	// Get appends the value of key to dst. The result is the caller's.
	Get(dst, key []byte) (value []byte, ok bool, err error)
	// GetAll calls fn for each of the keys, in ascending order and once, with its value and whether the store has it. For many
	// keys it costs less than a Get for each. It sees the store as it was when it was called. The slices are valid during the
	// call of fn only. An error of fn ends it and is returned, ErrStop as nil. keys is the caller's again afterwards.
	GetAll(keys *Keys, fn func(key, value []byte, ok bool) error) error
	// Apply applies b atomically. It is visible when Apply returns, and durable after the next Flush that returned nil.
	// A crash leaves the effect of a prefix of the applied batches. b is the caller's again afterwards.
	Apply(b *Batch) error
	// Scan calls fn in key order for lower <= key < upper; a nil upper is the end. The slices are valid during the call
	// only. An error of fn ends the scan and is returned, ErrStop as nil.
	Scan(lower, upper []byte, fn func(key, value []byte) error) error
	// Flush makes everything applied before it durable.
	Flush() error
	// Close flushes and closes. Later calls return ErrClosed.
	Close() error
}

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the store is closed")
	// ErrCorrupt says that the store's files cannot be trusted: set them aside and rebuild.
	ErrCorrupt = errors.New("the store is damaged")
	// ErrReopen says that a full disk left the store where only closing and opening it again helps. Its files are sound.
	ErrReopen = errors.New("the store must be opened again")
	// ErrStop ends a Scan without an error.
	ErrStop = errors.New("stop")
)

// IsCorrupt reports whether err says that the store must be rebuilt.
func IsCorrupt(err error) bool { return errors.Is(err, ErrCorrupt) }

// IsUnusable reports whether err says that the store will answer no further call.
func IsUnusable(err error) bool {
	return IsCorrupt(err) || errors.Is(err, ErrReopen) || errors.Is(err, ErrClosed)
}

// IsNoSpace reports whether err says that the disk, or a quota, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
