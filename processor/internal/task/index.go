package task

import "hash/maphash"

// index finds a table's entries by key. It is a hash table of open addressing: a lookup meets one line of slots and then
// the entry itself, whose key lies beside it, where a Go map meets its control bytes, its copy of the key's header, the
// key and the entry.
//
// Invariant: no free slot lies between an entry's first slot, hash & mask, and the one that holds it.
type index struct {
	slab
	slots []slot // a power of two, at most three quarters of them in use
	inUse int
}

type slot struct {
	hash  uint32
	entry ref // 0: free
}

const minSlots = 16

var indexSeed = maphash.MakeSeed()

func indexHash(key []byte) uint32 { return uint32(maphash.Bytes(indexSeed, key)) }

// get returns the entry of a key, nil if there is none.
func (x *index) get(key []byte) *entry {
	if len(x.slots) == 0 {
		return nil
	}
	hash := indexHash(key)
	mask := uint32(len(x.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := x.slots[i]
		if s.entry == 0 {
			return nil
		}
		if s.hash != hash {
			continue
		}
		if e := x.at(s.entry); x.key(e) == string(key) {
			return e
		}
	}
}

// put adds an entry whose key is not in the index.
func (x *index) put(r ref) {
	if 4*(x.inUse+1) > 3*len(x.slots) {
		x.rehash(sizeFor(x.inUse + 1))
	}
	x.inUse++
	x.place(slot{indexHash(x.keyBytes(x.at(r))), r})
}

func (x *index) place(s slot) {
	mask := uint32(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].entry != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
}

// sizeFor is how many slots n entries take.
func sizeFor(n int) int {
	size := minSlots
	for 4*n > 3*size {
		size *= 2
	}
	return size
}

// rehash places the entries in so many slots.
func (x *index) rehash(size int) {
	old := x.slots
	x.slots = make([]slot, size)
	for _, s := range old {
		if s.entry != 0 {
			x.place(s)
		}
	}
}

// remove takes an entry of the index out, and moves those after it that stood aside for it.
func (x *index) remove(r ref) {
	mask := uint32(len(x.slots) - 1)
	i := indexHash(x.keyBytes(x.at(r))) & mask
	for x.slots[i].entry != r {
		i = (i + 1) & mask
	}
	x.inUse--
	for j := (i + 1) & mask; x.slots[j].entry != 0; j = (j + 1) & mask {
		// The slot may move to i unless its first slot lies after i, up to j itself.
		if (j-x.slots[j].hash)&mask >= (j-i)&mask {
			x.slots[i] = x.slots[j]
			i = j
		}
	}
	x.slots[i] = slot{}
}
