package task

import "unsafe"

// entry is one key's value, committed and pending, in two lines of the processor's cache: what a lookup meets, and the rest.
// What is longer than its room here lies elsewhere, in slab.longs. It holds no pointers.
//
// Invariant (R1): the committed value and exists change in Keep alone, that is by committed transactions.
type entry struct {
	indexed int64 // where the key stands in table.due
	// frozen is the freeze that holds the value; the store has it once that is applied.
	frozen   uint64
	long     uint32 // its place in slab.longs, 0 while everything fits
	keyLen   uint8  // or elsewhere
	dirty    bool   // in table.dirty
	stored   bool   // a freeze wrote the key, or the store was seen to hold it
	visited  bool   // since the eviction's hand came by
	shortKey [keyRoom]byte

	exists  bool // committed
	touched bool // in table.touched
	changes bool // Prepare found that the transaction changes the committed value
	phase   phase
	awaited uint8    // by a record to come, while it equals table.awaited
	values  [2]short // by which
}

// The values of an entry.
const (
	committed = iota
	pending   // overlay, where phase is phaseSet
)

type phase uint8

const (
	phaseNone    phase = iota // nothing pending
	phaseSet                  // pending is the new value
	phaseRemoved              // the value is to be removed
)

// Room for short bytes in an entry: a UUID, and most numbers, sums and small structs.
const (
	keyRoom   = 40
	valueRoom = 28
	elsewhere = 255 // length of what lies in long
)

// short is a value that fits in its room.
type short struct {
	n     uint8 // or elsewhere
	bytes [valueRoom]byte
}

// entryBytes is what an entry of short key and values costs in memory, index, ring and lists included.
const entryBytes = 164

// key is valid until the entry is freed.
func (s *slab) key(e *entry) string {
	if e.keyLen == elsewhere {
		return s.longs.all[e.long].key
	}
	return unsafe.String(&e.shortKey[0], e.keyLen)
}

// keyBytes must not be changed. They are not nil, so that the key is not a null one.
func (s *slab) keyBytes(e *entry) []byte {
	if e.keyLen == elsewhere {
		return bytesOf(s.longs.all[e.long].key)
	}
	return e.shortKey[:e.keyLen:e.keyLen]
}

// value is valid until the next set of the same, and never nil.
func (s *slab) value(e *entry, which int) []byte {
	r := &e.values[which]
	if r.n == elsewhere {
		return s.longs.all[e.long].values[which]
	}
	return r.bytes[:r.n:r.n]
}

// set copies v, and returns by how many bytes the entry grew.
func (s *slab) set(e *entry, which int, v []byte) int {
	r := &e.values[which]
	if len(v) <= valueRoom {
		r.n = uint8(copy(r.bytes[:], v))
		return 0
	}
	r.n = elsewhere
	before := s.size(e)
	l := s.long(e)
	l.values[which] = append(l.values[which][:0], v...)
	return s.size(e) - before
}

// commit makes what is pending the committed state.
func (s *slab) commit(e *entry) {
	if e.exists = e.phase == phaseSet; !e.exists {
		e.values[committed].n = 0
		return
	}
	e.values[committed] = e.values[pending]
	if e.long != 0 {
		l := s.long(e)
		l.values[committed], l.values[pending] = l.values[pending], l.values[committed]
	}
}

// size is the memory that the entry holds, in bytes.
func (s *slab) size(e *entry) int {
	if e.long == 0 {
		return entryBytes
	}
	l := &s.longs.all[e.long]
	return entryBytes + longBytes + len(l.key) + cap(l.values[committed]) + cap(l.values[pending])
}
