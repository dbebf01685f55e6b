package task

import (
	"cmp"
	"slices"
	"strings"
)

// deadlines is an ordered set of deadlines and keys: a list of sorted chunks, none of them empty. An addition or removal
// is two binary searches and a move within one chunk. It costs 24 bytes for each, those of the key, and the room that
// chunks leave; deadlines that rise, as most do, fill them whole.
type deadlines struct {
	chunks [][]deadline
	ends   []int64 // of each chunk, the time of its last: what a search looks at lies together
	n      int
}

// deadline is one timer's, in Unix milliseconds.
type deadline struct {
	at  int64
	key string
}

// chunkDeadlines bounds a chunk: 6 KiB, a size class of the allocator.
const chunkDeadlines = 256

func compareDeadlines(a, b deadline) int {
	if a.at != b.at {
		return cmp.Compare(a.at, b.at)
	}
	return strings.Compare(a.key, b.key)
}

// newDeadlines makes a set of all, which it sorts.
func newDeadlines(all []deadline) deadlines {
	slices.SortFunc(all, compareDeadlines)
	d := deadlines{n: len(all)}
	for c := range slices.Chunk(all, chunkDeadlines) {
		d.insert(len(d.chunks), append(make([]deadline, 0, chunkDeadlines), c...))
	}
	return d
}

// first returns the earliest.
func (d *deadlines) first() (deadline, bool) {
	if d.n == 0 {
		return deadline{}, false
	}
	return d.chunks[0][0], true
}

// chunk returns the index of the chunk that x is in, or would be.
func (d *deadlines) chunk(x deadline) int {
	lo, ok := slices.BinarySearch(d.ends, x.at)
	if !ok {
		return lo
	}
	hi, _ := slices.BinarySearch(d.ends, x.at+1) // many may be of one time
	i, _ := slices.BinarySearchFunc(d.chunks[lo:hi], x, func(c []deadline, x deadline) int { return compareDeadlines(c[len(c)-1], x) })
	return lo + i
}

// room returns c with room for n more: one whose first was removed has less than a chunk's.
func room(c []deadline, n int) []deadline {
	if len(c)+n <= cap(c) {
		return c
	}
	return append(make([]deadline, 0, chunkDeadlines), c...)
}

func (d *deadlines) insert(i int, c []deadline) {
	d.chunks = slices.Insert(d.chunks, i, c)
	d.ends = slices.Insert(d.ends, i, c[len(c)-1].at)
}

func (d *deadlines) delete(i int) {
	if i == 0 {
		d.chunks[0] = nil
		d.chunks, d.ends = d.chunks[1:], d.ends[1:]
		return
	}
	d.chunks = slices.Delete(d.chunks, i, i+1)
	d.ends = slices.Delete(d.ends, i, i+1)
}

// set replaces a chunk, which is not empty.
func (d *deadlines) set(i int, c []deadline) {
	d.chunks[i], d.ends[i] = c, c[len(c)-1].at
}

// add adds x, which is not in the set.
func (d *deadlines) add(x deadline) {
	d.n++
	i := d.chunk(x)
	if i == len(d.chunks) { // beyond the last: a full chunk stays full
		if i == 0 || len(d.chunks[i-1]) == chunkDeadlines {
			d.insert(i, append(make([]deadline, 0, chunkDeadlines), x))
			return
		}
		d.set(i-1, append(room(d.chunks[i-1], 1), x))
		return
	}
	if len(d.chunks[i]) == chunkDeadlines {
		if d.split(i); compareDeadlines(d.chunks[i][chunkDeadlines/2-1], x) < 0 {
			i++
		}
	}
	c := d.chunks[i]
	at, _ := slices.BinarySearchFunc(c, x, compareDeadlines)
	d.set(i, slices.Insert(room(c, 1), at, x))
}

func (d *deadlines) split(i int) {
	c := d.chunks[i]
	upper := append(make([]deadline, 0, chunkDeadlines), c[chunkDeadlines/2:]...)
	clear(c[chunkDeadlines/2:])
	d.set(i, c[:chunkDeadlines/2])
	d.insert(i+1, upper)
}

// remove removes x, if it is in the set, and returns the key that was held.
func (d *deadlines) remove(x deadline) (key string, ok bool) {
	i := d.chunk(x)
	if i == len(d.chunks) {
		return "", false
	}
	c := d.chunks[i]
	at, ok := slices.BinarySearchFunc(c, x, compareDeadlines)
	if !ok {
		return "", false
	}
	key = c[at].key
	d.n--
	if at == 0 { // what fires is the first
		c[0] = deadline{}
		c = c[1:]
	} else {
		c = slices.Delete(c, at, at+1)
	}
	if len(c) == 0 {
		d.delete(i)
		return key, true
	}
	d.set(i, c)
	d.merge(i)
	return key, true
}

// merge keeps chunks from running empty: one of a quarter goes into a neighbour that has the room.
func (d *deadlines) merge(i int) {
	switch n := len(d.chunks[i]); {
	case n > chunkDeadlines/4:
	case i > 0 && len(d.chunks[i-1])+n <= chunkDeadlines:
		d.set(i-1, append(room(d.chunks[i-1], n), d.chunks[i]...))
		d.delete(i)
	case i+1 < len(d.chunks) && len(d.chunks[i+1])+n <= chunkDeadlines:
		d.set(i, append(room(d.chunks[i], len(d.chunks[i+1])), d.chunks[i+1]...))
		d.delete(i + 1)
	}
}

// all calls fn for each, in order.
func (d *deadlines) all(fn func(deadline)) {
	for _, c := range d.chunks {
		for _, x := range c {
			fn(x)
		}
	}
}
