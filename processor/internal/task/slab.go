package task

import (
	"runtime"
	"slices"
	"unsafe"

	"github.com/penstock/penstock/processor/internal/offheap"
)

// slab is where a table's entries lie. They are outside of Go's heap, and so are not kept by pointers: an entry is there until it is
// freed, and all of them until the slab itself is garbage.
type slab struct {
	chunks *chunks
	used   ref // entries that were ever used, the first of which none is
	free   ref // the first of those to be used again, linked by entry.indexed
	longs  longs
}

// ref is an entry's place in its slab. The zero ref is no entry.
type ref uint32

const chunkEntries = offheap.ChunkBytes / unsafe.Sizeof(entry{})

type chunks struct{ list []*[chunkEntries]entry }

// at is valid until the entry is freed.
func (s *slab) at(r ref) *entry {
	return &s.chunks.list[uintptr(r)/chunkEntries][uintptr(r)%chunkEntries]
}

// create makes an entry of a key, without a value.
func (s *slab) create(key []byte) ref {
	r := s.take()
	e := s.at(r)
	if len(key) > keyRoom {
		e.keyLen = elsewhere
		s.long(e).key = string(key)
	} else {
		e.keyLen = uint8(copy(e.shortKey[:], key))
	}
	return r
}

// take returns an entry of zeros.
func (s *slab) take() ref {
	if r := s.free; r != 0 {
		e := s.at(r)
		s.free = ref(e.indexed)
		*e = entry{}
		return r
	}
	if s.chunks == nil {
		s.chunks, s.used = new(chunks), 1
		runtime.AddCleanup(s, (*chunks).release, s.chunks)
	}
	if uintptr(s.used)%chunkEntries == 0 || len(s.chunks.list) == 0 {
		s.chunks.list = append(s.chunks.list, (*[chunkEntries]entry)(unsafe.Pointer(offheap.Get())))
	}
	s.used++
	return s.used - 1
}

// discard frees an entry.
func (s *slab) discard(r ref) {
	e := s.at(r)
	s.longs.free(e.long)
	e.indexed, s.free = int64(s.free), r
}

func (c *chunks) release() {
	all := make([]*offheap.Chunk, len(c.list))
	for i, chunk := range c.list {
		all[i] = (*offheap.Chunk)(unsafe.Pointer(chunk))
	}
	offheap.Put(all...)
}

// compactLeast is how many entries a slab may have that are not in use, beside three for each that is. A variable for tests.
var compactLeast = int(chunkEntries)

// compact moves the entries to a slab of their number, where most of it is not in use: a task that had the whole budget of the cache to itself,
// or one large transaction, gives back what it took. Between two records nobody but the table's lists holds an entry; apart is the one that lies elsewhere.
func (tb *table) compact(apart *entry) {
	if int(tb.used) <= 4*len(tb.ring)+compactLeast {
		return
	}
	moved := slab{chunks: new(chunks), used: 1}
	for i, r := range tb.ring {
		from := tb.at(r)
		tb.ring[i] = moved.take()
		to := moved.at(tb.ring[i])
		*to = *from
		if from.long != 0 {
			to.long = moved.longs.take()
			moved.longs.all[to.long] = tb.longs.all[from.long]
		}
		from.indexed = int64(tb.ring[i]) // where it went
	}
	follow := func(list []*entry) []*entry {
		if len(list) == 0 {
			return nil
		}
		for i, e := range list {
			if e != apart {
				list[i] = moved.at(ref(e.indexed))
			}
		}
		return list
	}
	tb.touched, tb.dirty, tb.spare = follow(tb.touched), follow(tb.dirty), nil
	for _, f := range tb.freezing {
		follow(f.entries)
	}
	for i, s := range tb.slots {
		if s.entry != 0 {
			tb.slots[i].entry = ref(tb.at(s.entry).indexed)
		}
	}
	tb.rehash(sizeFor(len(tb.ring)))
	tb.ring = slices.Clone(tb.ring)
	(&chunks{tb.chunks.list}).release()
	tb.chunks.list, tb.used, tb.free, tb.longs = moved.chunks.list, moved.used, 0, moved.longs
}

// longs are what does not fit into entries, on Go's heap. An entry holds its place there, 0 for none.
type longs struct {
	all    []long
	unused []uint32
}

type long struct {
	key    string
	values [2][]byte // their memory is reused
}

const longBytes = int(unsafe.Sizeof(long{}))

// long returns what an entry has elsewhere, and makes it. It is valid until the next call.
func (s *slab) long(e *entry) *long {
	if e.long == 0 {
		e.long = s.longs.take()
	}
	return &s.longs.all[e.long]
}

func (l *longs) take() uint32 {
	if last := len(l.unused) - 1; last >= 0 {
		at := l.unused[last]
		l.unused = l.unused[:last]
		return at
	}
	if len(l.all) == 0 {
		l.all = append(l.all, long{}) // of no entry
	}
	l.all = append(l.all, long{})
	return uint32(len(l.all) - 1)
}

func (l *longs) free(at uint32) {
	if at != 0 {
		l.all[at] = long{}
		l.unused = append(l.unused, at)
	}
}
