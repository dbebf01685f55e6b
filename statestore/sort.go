package statestore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
)

// Sort orders the operations by key, those of one key as they were added, so that the last one still wins. A store takes
// a large sorted batch faster. A batch with a DeleteRange is left as it is: there the order between keys matters.
func (b *Batch) Sort() {
	if b.ranges > 0 || len(b.ops) < 2 {
		return
	}
	s := sorters.Get().(*sorter)
	defer sorters.Put(s)
	s.ranks = slices.Grow(s.ranks[:0], len(b.ops))[:len(b.ops)]
	s.spare = slices.Grow(s.spare[:0], len(b.ops))[:len(b.ops)]
	for i := range s.ranks {
		s.ranks[i].at = uint32(i)
	}
	b.order(s.ranks, s.spare, 0)
	b.arrange(s.ranks)
}

// rank is where an operation belongs: before those of a greater head.
type rank struct {
	head uint64 // some bytes of the key
	at   uint32 // in Batch.ops
}

// sorter is the memory of one Sort at a time.
type sorter struct{ ranks, spare []rank }

var sorters = sync.Pool{New: func() any { return new(sorter) }}

// radixLeast is how many ranks are faster sorted by their digits than by comparisons.
const radixLeast = 256

// order sorts the ranks by key, those of one key by place: by the first bytes after what all their keys begin with, and those whose bytes there are
// the same again, since what they share is longer. Many keys share much: those of a task its prefix, and a batch holds several tasks.
// Of known is known that all share it.
func (b *Batch) order(ranks, spare []rank, known int) {
	if len(ranks) < radixLeast {
		b.compare(ranks)
		return
	}
	shared := b.shared(ranks, known)
	for i := range ranks {
		ranks[i].head = head(b.key(b.ops[ranks[i].at])[shared:])
	}
	sortHeads(ranks, spare)
	for from := 0; from < len(ranks); {
		to := from + 1
		for to < len(ranks) && ranks[to].head == ranks[from].head {
			to++
		}
		switch same := ranks[from:to]; {
		case len(same) == 1:
		case len(same) == len(ranks): // keys that are the same, or differ in zeros at their ends
			b.compare(same)
		default:
			b.order(same, spare[from:to], shared)
		}
		from = to
	}
}

// compare sorts ranks by their whole keys, those of one key by place.
func (b *Batch) compare(ranks []rank) {
	slices.SortFunc(ranks, func(x, y rank) int {
		return cmp.Or(bytes.Compare(b.key(b.ops[x.at]), b.key(b.ops[y.at])), cmp.Compare(x.at, y.at))
	})
}

// shared is the length of what all keys begin with, of which so many bytes are known.
func (b *Batch) shared(ranks []rank, known int) int {
	shared := b.key(b.ops[ranks[0].at])
	for _, r := range ranks[1:] {
		key := b.key(b.ops[r.at])
		n := min(len(shared), len(key))
		for i := known; i < n; i++ {
			if shared[i] != key[i] {
				n = i
				break
			}
		}
		shared = shared[:n]
	}
	return len(shared)
}

func head(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var padded [8]byte
	copy(padded[:], key)
	return binary.BigEndian.Uint64(padded[:])
}

// sortHeads orders the ranks by head, byte by byte from the last to the first, each pass keeping the order of the one before. A byte
// that is the same in all is passed over.
func sortHeads(ranks, spare []rank) {
	var counts [8][256]uint32
	for _, r := range ranks {
		for digit := range counts {
			counts[digit][byte(r.head>>(8*digit))]++
		}
	}
	from, to := ranks, spare
	for digit := range counts {
		next := &counts[digit]
		if next[byte(from[0].head>>(8*digit))] == uint32(len(from)) {
			continue
		}
		place := uint32(0)
		for value, n := range next {
			next[value] = place
			place += n
		}
		for _, r := range from {
			value := byte(r.head >> (8 * digit))
			to[next[value]] = r
			next[value]++
		}
		from, to = to, from
	}
	if &from[0] != &ranks[0] {
		copy(ranks, from)
	}
}

// arrange moves the operations to the places of their ranks, around one cycle after the other.
func (b *Batch) arrange(ranks []rank) {
	for start := range ranks {
		to, first := start, b.ops[start]
		for {
			from := int(ranks[to].at)
			ranks[to].at = uint32(to)
			if from == start {
				b.ops[to] = first
				break
			}
			b.ops[to] = b.ops[from]
			to = from
		}
	}
}
