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
		d.chunks = append(d.chunks, append(make([]deadline, 0, chunkDeadlines), c...))
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
	i, _ := slices.BinarySearchFunc(d.chunks, x, func(c []deadline, x deadline) int { return compareDeadlines(c[len(c)-1], x) })
	return i
}

// add adds x, which is not in the set.
func (d *deadlines) add(x deadline) {
	d.n++
	i := d.chunk(x)
	if i == len(d.chunks) { // beyond the last: a full chunk stays full
		if i == 0 || len(d.chunks[i-1]) == chunkDeadlines {
			d.chunks = append(d.chunks, append(make([]deadline, 0, chunkDeadlines), x))
			return
		}
		d.chunks[i-1] = append(d.chunks[i-1], x)
		return
	}
	if len(d.chunks[i]) == chunkDeadlines {
		if d.split(i); compareDeadlines(d.chunks[i][chunkDeadlines/2-1], x) < 0 {
			i++
		}
	}
	c := d.chunks[i]
	at, _ := slices.BinarySearchFunc(c, x, compareDeadlines)
	d.chunks[i] = slices.Insert(c, at, x)
}

func (d *deadlines) split(i int) {
	c := d.chunks[i]
	upper := append(make([]deadline, 0, chunkDeadlines), c[chunkDeadlines/2:]...)
	clear(c[chunkDeadlines/2:])
	d.chunks[i] = c[:chunkDeadlines/2]
	d.chunks = slices.Insert(d.chunks, i+1, upper)
}

// remove removes x, if it is in the set.
func (d *deadlines) remove(x deadline) {
	i := d.chunk(x)
	if i == len(d.chunks) {
		return
	}
	at, ok := slices.BinarySearchFunc(d.chunks[i], x, compareDeadlines)
	if !ok {
		return
	}
	d.n--
	d.chunks[i] = slices.Delete(d.chunks[i], at, at+1)
	d.merge(i)
}

// merge keeps chunks from running empty: one of a quarter goes into a neighbour that has the room.
func (d *deadlines) merge(i int) {
	switch n := len(d.chunks[i]); {
	case n == 0:
		d.chunks = slices.Delete(d.chunks, i, i+1)
	case n > chunkDeadlines/4:
	case i > 0 && len(d.chunks[i-1])+n <= chunkDeadlines:
		d.chunks[i-1] = append(d.chunks[i-1], d.chunks[i]...)
		d.chunks = slices.Delete(d.chunks, i, i+1)
	case i+1 < len(d.chunks) && len(d.chunks[i+1])+n <= chunkDeadlines:
		d.chunks[i] = append(d.chunks[i], d.chunks[i+1]...)
		d.chunks = slices.Delete(d.chunks, i+1, i+2)
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
