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
	b.rank(s)
	s.sort()
	b.untie(s.ranks)
	b.arrange(s.ranks)
}

// rank is where an operation belongs: before those of a greater head.
type rank struct {
	head uint64 // the first bytes of the key after what all keys share
	at   uint32 // in Batch.ops
}

// sorter is the memory of one Sort at a time.
type sorter struct{ ranks, spare []rank }

var sorters = sync.Pool{New: func() any { return new(sorter) }}

// rank makes the operations' ranks. Keys of a task share a prefix; the bytes behind it decide nearly every comparison.
func (b *Batch) rank(s *sorter) {
	shared := b.shared()
	s.ranks = slices.Grow(s.ranks[:0], len(b.ops))
	for i, o := range b.ops {
		s.ranks = append(s.ranks, rank{head(b.key(o)[shared:]), uint32(i)})
	}
}

// shared is the length of what all keys begin with.
func (b *Batch) shared() int {
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

// radixLeast is how many ranks are faster sorted by their digits than by comparisons.
const radixLeast = 256

// sort orders the ranks by head, those of one head by place: by comparisons, or byte by byte from the last to the first, each
// pass keeping the order of the one before. A byte that is the same in all is passed over.
func (s *sorter) sort() {
	if len(s.ranks) < radixLeast {
		slices.SortFunc(s.ranks, func(x, y rank) int {
			return cmp.Or(cmp.Compare(x.head, y.head), cmp.Compare(x.at, y.at))
		})
		return
	}
	var counts [8][256]uint32
	for _, r := range s.ranks {
		for digit := range counts {
			counts[digit][byte(r.head>>(8*digit))]++
		}
	}
	s.spare = slices.Grow(s.spare[:0], len(s.ranks))[:len(s.ranks)]
	for digit := range counts {
		next := &counts[digit]
		if next[byte(s.ranks[0].head>>(8*digit))] == uint32(len(s.ranks)) {
			continue
		}
		place := uint32(0)
		for value, n := range next {
			next[value] = place
			place += n
		}
		for _, r := range s.ranks {
			value := byte(r.head >> (8 * digit))
			s.spare[next[value]] = r
			next[value]++
		}
		s.ranks, s.spare = s.spare, s.ranks
	}
}

// untie orders ranks of one head by their whole keys, and those of one key by place.
func (b *Batch) untie(ranks []rank) {
	for len(ranks) > 1 {
		same := 1
		for same < len(ranks) && ranks[same].head == ranks[0].head {
			same++
		}
		if same > 1 {
			slices.SortFunc(ranks[:same], func(x, y rank) int {
				return cmp.Or(bytes.Compare(b.key(b.ops[x.at]), b.key(b.ops[y.at])), cmp.Compare(x.at, y.at))
			})
		}
		ranks = ranks[same:]
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
