package statestore

import (
	"bytes"
	"cmp"
	"encoding/binary"
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
	order     uint64 // Sort's: the first bytes of the key after what all keys share
	from      int    // offset in buf
	key, size uint32 // lengths of key and value
	index     uint32 // rises in the order of addition
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
	b.ops = append(b.ops, op{
		from: len(b.buf), key: uint32(len(key)), size: uint32(len(value)), index: uint32(len(b.ops)), kind: kind,
	})
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

// Sort orders the operations by key, those of one key as they were added, so that the last one still wins. A store takes
// a large sorted batch faster. A batch with a DeleteRange is left as it is: there the order between keys matters.
func (b *Batch) Sort() {
	if b.ranges > 0 || len(b.ops) < 2 {
		return
	}
	b.rank()
	slices.SortFunc(b.ops, func(x, y op) int {
		if x.order != y.order {
			return cmp.Compare(x.order, y.order)
		}
		if c := bytes.Compare(b.key(x), b.key(y)); c != 0 {
			return c
		}
		return cmp.Compare(x.index, y.index)
	})
}

// rank sets each op's order. Keys of a task share a prefix; the bytes behind it decide nearly every comparison.
func (b *Batch) rank() {
	shared := b.key(b.ops[0])
	for _, o := range b.ops[1:] {
		key := b.key(o)
		n := min(len(shared), len(key))
		for i := range n {
			if shared[i] != key[i] {
				n = i
				break
			}
		}
		shared = shared[:n]
	}
	for i := range b.ops {
		rest := b.key(b.ops[i])[len(shared):]
		if len(rest) >= 8 {
			b.ops[i].order = binary.BigEndian.Uint64(rest)
			continue
		}
		var padded [8]byte
		copy(padded[:], rest)
		b.ops[i].order = binary.BigEndian.Uint64(padded[:])
	}
}

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
