package statestore

import (
	"iter"
	"slices"
)

// OpKind is what an operation of a batch does.
type OpKind uint8

const (
	OpSet         OpKind = iota // Key gets Value
	OpDelete                    // Key is removed
	OpDeleteRange               // Key <= k < Value are removed
)

// Op is one operation. Its slices are the batch's and valid until the batch is changed.
type Op struct {
	Kind       OpKind
	Key, Value []byte
}

// Batch is a list of operations that take effect together, in order: of two on one key the later one wins. Its bytes lie
// in one buffer, so that a batch that is reset and filled again allocates nothing. The zero Batch is empty.
type Batch struct {
	buf    []byte
	ops    []op
	ranges int // how many of ops are OpDeleteRange
}

type op struct {
	from      int    // offset in buf
	key, size uint32 // lengths of key and value
	kind      OpKind
}

// Set gives a key a value. The slices are copied.
func (b *Batch) Set(key, value []byte) { b.add(OpSet, key, value) }

// Delete removes a key.
func (b *Batch) Delete(key []byte) { b.add(OpDelete, key, nil) }

// DeleteRange removes all keys from lower to before upper.
func (b *Batch) DeleteRange(lower, upper []byte) {
	b.ranges++
	b.add(OpDeleteRange, lower, upper)
}

func (b *Batch) add(kind OpKind, key, value []byte) {
	b.ops = append(b.ops, op{from: len(b.buf), key: uint32(len(key)), size: uint32(len(value)), kind: kind})
	b.buf = append(append(b.buf, key...), value...)
}

// Grow makes room for more operations, and for the bytes of their keys and values.
func (b *Batch) Grow(ops, bytes int) {
	b.ops, b.buf = slices.Grow(b.ops, ops), slices.Grow(b.buf, bytes)
}

// Len is the number of operations.
func (b *Batch) Len() int { return len(b.ops) }

// Bytes is the size of all keys and values.
func (b *Batch) Bytes() int { return len(b.buf) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.buf, b.ops, b.ranges = b.buf[:0], b.ops[:0], 0 }

func (b *Batch) key(o op) []byte { return b.buf[o.from : o.from+int(o.key)] }

// All iterates over the operations, in order.
func (b *Batch) All() iter.Seq[Op] {
	return func(yield func(Op) bool) {
		for _, o := range b.ops {
			value := o.from + int(o.key)
			if !yield(Op{o.kind, b.buf[o.from:value:value], b.buf[value : value+int(o.size) : value+int(o.size)]}) {
				return
			}
		}
	}
}
