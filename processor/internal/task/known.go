package task

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// Known is which keys a partition's states may have in the store, by state: a key that is not known is not there, and need not
// be looked for. Most keys that the cache lacks are such: sessions that begin.
type Known []*keySet

const (
	knownPart    = 2                    // of the cache's budget, 1 in so many bytes, that known keys may take
	knownSlice   = 4096                 // keys that are read without a pause
	knownPause   = 2 * time.Millisecond // which leaves the processor to the records
	keySetFirst  = 1 << 14              // keys for which a set is made at first
	keySetBits   = 10                   // for each key: some 3 in 100 that are not in the set are taken for ones that are
	keySetProbes = 6
)

// ReadKnown reads the keys that the store holds, as it is now or later. It returns nil where they would take more than some bytes, and the error
// of the store, or of ctx.
func ReadKnown(ctx context.Context, store statestore.Store, topo *topology.Topology, partition int32, bytes int) (Known, error) {
	var known Known
	n, left := 0, bytes
	for _, state := range topo.States {
		set := new(keySet)
		lower, upper := StateRange(partition, state)
		err := store.Scan(lower, upper, func(key, _ []byte) error {
			if n++; n%knownSlice == 0 {
				time.Sleep(knownPause)
			}
			if set.add(maphash.Bytes(keySetSeed, key[len(lower):])); set.bytes > left || ctx.Err() != nil {
				return statestore.ErrStop
			}
			return nil
		})
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if left -= set.bytes; left < 0 {
			return nil, nil
		}
		known = append(known, set)
	}
	return known, nil
}

func (k Known) bytes() int {
	n := 0
	for _, set := range k {
		n += set.bytes
	}
	return n
}

// BeginKnown begins to collect what the task writes to the store from here on, which ReadKnown, called later, may not find there.
func (t *Task) BeginKnown() {
	for _, tb := range t.tables {
		tb.known, tb.written = nil, new(keySet)
		for _, f := range tb.freezing { // on their way to the store
			for _, e := range f.entries {
				tb.written.add(maphash.String(keySetSeed, tb.key(e)))
			}
		}
	}
}

// EndKnown takes what ReadKnown returned. Nil, or what leaves little room for keys to come: the store is asked for every key.
func (t *Task) EndKnown(known Known) {
	if known.bytes() > t.KnownBytes()*3/4 {
		known = nil
	}
	for i, tb := range t.tables {
		if known == nil {
			tb.written = nil
			continue
		}
		tb.known = known[i]
	}
}

// KnownBytes is the memory that a task's known keys may take.
func (t *Task) KnownBytes() int { return t.cfg.CacheBytes / knownPart }

// KnownFull reports whether they take more: keys that are gone may be among them, so they should be read again.
func (t *Task) KnownFull() bool {
	n := 0
	for _, tb := range t.tables {
		n += tb.knownBytes()
	}
	return n > t.KnownBytes()
}

// absent reports whether the store certainly lacks a key.
func (tb *table) absent(key []byte) bool {
	if tb.known == nil {
		return false
	}
	h := maphash.Bytes(keySetSeed, key)
	return !tb.known.has(h) && !tb.written.has(h)
}

func (tb *table) knownBytes() int {
	n := 0
	for _, set := range []*keySet{tb.known, tb.written} {
		if set != nil {
			n += set.bytes
		}
	}
	return n
}

// keySet is a set of keys, by their hashes, that may take one for another: blocked Bloom filters, each for twice as many keys as the one before.
type keySet struct {
	layers []layer
	bytes  int
}

type layer struct {
	blocks [][8]uint64
	room   int // keys that it may still take
}

var keySetSeed = maphash.MakeSeed()

func (s *keySet) add(h uint64) {
	if s.has(h) {
		return
	}
	last := len(s.layers) - 1
	if last < 0 || s.layers[last].room == 0 {
		last++
		room := keySetFirst << last
		s.layers = append(s.layers, layer{make([][8]uint64, room*keySetBits/512), room})
		s.bytes += room * keySetBits / 8
	}
	s.layers[last].room--
	block, bit, step := s.layers[last].place(h)
	for range keySetProbes {
		block[bit>>6&7] |= 1 << (bit & 63)
		bit += step
	}
}

func (s *keySet) has(h uint64) bool {
	for i := len(s.layers) - 1; i >= 0; i-- {
		if s.layers[i].has(h) {
			return true
		}
	}
	return false
}

func (l *layer) has(h uint64) bool {
	block, bit, step := l.place(h)
	for range keySetProbes {
		if block[bit>>6&7]&(1<<(bit&63)) == 0 {
			return false
		}
		bit += step
	}
	return true
}

// place is where a hash's bits are: its block by the upper half, the bits in it by the lower.
func (l *layer) place(h uint64) (block *[8]uint64, bit, step uint32) {
	return &l.blocks[(h>>32)*uint64(len(l.blocks))>>32], uint32(h) & 511, uint32(h)>>9&255<<1 | 1
}
