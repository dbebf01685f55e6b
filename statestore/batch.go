package statestore

import (
	"bytes"
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

// Batch is a list of operations that take effect together, in order. Its bytes lie in one buffer, so that a batch that
// is reset and filled again allocates nothing. The zero Batch is empty.
type Batch struct {
	buf []byte
	ops []op
}

type op struct {
	kind            OpKind
	from, key, size uint32 // offset in buf, length of the key, length of the value
}

// Set gives a key a value. The slices are copied.
func (b *Batch) Set(key, value []byte) { b.add(OpSet, key, value) }

// Delete removes a key.
func (b *Batch) Delete(key []byte) { b.add(OpDelete, key, nil) }

// DeleteRange removes all keys from lower to before upper.
func (b *Batch) DeleteRange(lower, upper []byte) { b.add(OpDeleteRange, lower, upper) }

func (b *Batch) add(kind OpKind, key, value []byte) {
	b.ops = append(b.ops, op{kind, uint32(len(b.buf)), uint32(len(key)), uint32(len(value))})
	b.buf = append(append(b.buf, key...), value...)
}

// Len is the number of operations.
func (b *Batch) Len() int { return len(b.ops) }

// Bytes is the size of all keys and values.
func (b *Batch) Bytes() int { return len(b.buf) }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() { b.buf, b.ops = b.buf[:0], b.ops[:0] }

// Sort orders the operations by key, those of one key in the order in which they were added, so that the last one wins.
// A batch with a DeleteRange is left as it is.
func (b *Batch) Sort() {
	if slices.ContainsFunc(b.ops, func(o op) bool { return o.kind == OpDeleteRange }) {
		return
	}
	slices.SortStableFunc(b.ops, func(x, y op) int { return bytes.Compare(b.at(x).Key, b.at(y).Key) })
}

func (b *Batch) at(o op) Op {
	key := b.buf[o.from : o.from+o.key]
	return Op{o.kind, key, b.buf[o.from+o.key : o.from+o.key+o.size]}
}

// All iterates over the operations, in order.
func (b *Batch) All() iter.Seq[Op] {
	return func(yield func(Op) bool) {
		for _, o := range b.ops {
			if !yield(b.at(o)) {
				return
			}
		}
	}
}
