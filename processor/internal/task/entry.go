package task

import "unsafe"

// entry is one key's value, committed and pending, in two lines of the processor's cache: what a lookup meets, and the rest.
// What is longer than its room here lies in long.
//
// Invariant (R1): the committed value and exists change in Keep alone, that is by committed transactions.
type entry struct {
	long    *long // nil while everything fits
	indexed int64 // where the key stands in table.due
	// frozen is the freeze that holds the value; the store has it once that is applied.
	frozen   uint64
	keyLen   uint8 // or elsewhere
	dirty    bool  // in table.dirty
	stored   bool  // a freeze wrote the key, or the store was seen to hold it
	visited  bool  // since the eviction's hand came by
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
	keyRoom   = 36
	valueRoom = 28
	elsewhere = 255 // length of what lies in long
)

// short is a value that fits in its room.
type short struct {
	n     uint8 // or elsewhere
	bytes [valueRoom]byte
}

type long struct {
	key    string
	values [2][]byte // their memory is reused
}

// Memory in bytes.
const (
	// entryBytes is what an entry of short key and values costs, index, ring and lists included.
	entryBytes = 184
	longBytes  = int(unsafe.Sizeof(long{}))
)

// newEntry returns an entry of a key, without a value.
func newEntry(key []byte) *entry {
	e := new(entry)
	if len(key) > keyRoom {
		e.keyLen, e.long = elsewhere, &long{key: string(key)}
	} else {
		e.keyLen = uint8(copy(e.shortKey[:], key))
	}
	return e
}

// key lives as long as the entry.
func (e *entry) key() string {
	if e.keyLen == elsewhere {
		return e.long.key
	}
	return unsafe.String(&e.shortKey[0], e.keyLen)
}

// keyBytes must not be changed. They are not nil, so that the key is not a null one.
func (e *entry) keyBytes() []byte {
	if e.keyLen == elsewhere {
		return bytesOf(e.long.key)
	}
	return e.shortKey[:e.keyLen:e.keyLen]
}

// value is valid until the next set of the same, and never nil.
func (e *entry) value(which int) []byte {
	r := &e.values[which]
	if r.n == elsewhere {
		return e.long.values[which]
	}
	return r.bytes[:r.n:r.n]
}

// set copies v, and returns by how many bytes the entry grew.
func (e *entry) set(which int, v []byte) int {
	r := &e.values[which]
	if len(v) > valueRoom {
		r.n = elsewhere
		return e.setLong(which, v)
	}
	r.n = uint8(copy(r.bytes[:], v))
	return 0
}

func (e *entry) setLong(which int, v []byte) int {
	before := e.size()
	if e.long == nil {
		e.long = new(long)
	}
	e.long.values[which] = append(e.long.values[which][:0], v...)
	return e.size() - before
}

// commit makes what is pending the committed state.
func (e *entry) commit() {
	if e.exists = e.phase == phaseSet; !e.exists {
		e.values[committed].n = 0
		return
	}
	e.values[committed] = e.values[pending]
	if l := e.long; l != nil {
		l.values[committed], l.values[pending] = l.values[pending], l.values[committed]
	}
}

// size is the memory that the entry holds, in bytes.
func (e *entry) size() int {
	if e.long == nil {
		return entryBytes
	}
	return entryBytes + longBytes + len(e.long.key) + cap(e.long.values[committed]) + cap(e.long.values[pending])
}
