package task

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/penstock/penstock/processor/internal/topology"
)

// table is one state of one task: the overlay and the committed cache in one index, so that a record costs one lookup.
type table struct {
	index
	prefix []byte // of its keys in the store
	keyBuf []byte
	ring   []ref // all entries, for the eviction's hand
	hand   int
	bytes  int // estimate of the memory in use

	touched []*entry // changed in this transaction
	dirty   []*entry // committed but not yet frozen
	// freezing are the freezes that are not applied yet, the last one at the end. An entry may be in several.
	freezing []frozen
	spare    []*entry // the memory of the next dirty

	due *deadlines // of a timer's table: its index; else nil

	// What the records asked for since the last Task.readAhead, and how much of it the store was asked for; and the mark of
	// the entries that the next ones will ask for, never 0.
	asked, missed int
	awaited       uint8

	// Of the keys that the store may hold: those that it held, nil until that is known, and those written since.
	known, written *keySet
}

// frozen is what one freeze wrote.
type frozen struct {
	seq     uint64
	entries []*entry
}

type undo struct {
	table    *table
	entry    *entry
	phase    phase
	from, to int // of undoBuf
}

func newTable(partition int32, state string) *table {
	return &table{prefix: StatePrefix(partition, state), awaited: 1}
}

// StatePrefix is what all of a state's keys in the store begin with: the partition in 4 bytes, big endian, the state's
// name and a zero byte. The record's key follows.
func StatePrefix(partition int32, state string) []byte {
	p := binary.BigEndian.AppendUint32(nil, uint32(partition))
	p = append(p, state...)
	return append(p, 0)
}

// StateRange is the range of all keys of a state in a partition.
func StateRange(partition int32, state string) (lower, upper []byte) {
	upper = StatePrefix(partition, state)
	upper[len(upper)-1] = 1 // above the zero byte that ends the name
	return StatePrefix(partition, state), upper
}

// PartitionRange is the range of all keys of a partition, its position included.
func PartitionRange(partition int32) (lower, upper []byte) {
	return binary.BigEndian.AppendUint32(nil, uint32(partition)), binary.BigEndian.AppendUint32(nil, uint32(partition)+1)
}

// slot returns the current key's entry of a state, from the cache or the store.
func (t *Task) slot(state int) (*entry, error) {
	if e := t.slots[state]; e != nil {
		return e, nil
	}
	t.stats.Lookups++
	tb := t.tables[state]
	e := tb.get(t.record.Key)
	if e == nil {
		var err error
		if e, err = t.load(tb, t.record.Key); err != nil {
			return nil, err
		}
	}
	e.visited, e.awaited = true, 0
	tb.asked++
	t.slots[state] = e
	return e, nil
}

func (t *Task) load(tb *table, key []byte) (*entry, error) {
	ok := false
	t.readBuf = t.readBuf[:0]
	if !tb.absent(key) {
		t.stats.StoreReads++
		tb.missed++
		var err error
		if t.readBuf, ok, err = t.cfg.Store.Get(t.readBuf, tb.storeKey(key)); err != nil {
			return nil, err
		}
	}
	r := tb.create(key)
	e := tb.at(r)
	tb.set(e, committed, t.readBuf)
	t.readBuf = kept(t.readBuf)
	return e, tb.admit(r, ok)
}

// storeKey is a key as the store has it, until the next call.
func (tb *table) storeKey(key []byte) []byte {
	tb.keyBuf = append(append(tb.keyBuf[:0], tb.prefix...), key...)
	return tb.keyBuf
}

// admit takes an entry that holds what the store has of its key, if it has it, into the cache.
func (tb *table) admit(r ref, stored bool) error {
	e := tb.at(r)
	e.exists, e.stored, e.indexed = stored, stored, notIndexed
	if tb.due != nil && e.exists {
		var ok bool
		if e.indexed, ok = topology.Deadline(tb.value(e, committed)); !ok {
			defer tb.discard(r)
			return fmt.Errorf("key %q of a timer: a value of %d bytes is %w", tb.key(e), len(tb.value(e, committed)), ErrDeadline)
		}
	}
	tb.put(r)
	tb.ring = append(tb.ring, r)
	tb.bytes += tb.size(e)
	return nil
}

// touch notes what must be undone if the record is rejected, and puts the entry into the transaction.
func (t *Task) touch(state int, e *entry) {
	tb := t.tables[state]
	if !slices.ContainsFunc(t.undo, func(u undo) bool { return u.entry == e }) {
		from := len(t.undoBuf)
		if e.phase == phaseSet {
			t.undoBuf = append(t.undoBuf, tb.value(e, pending)...)
		}
		t.undo = append(t.undo, undo{tb, e, e.phase, from, len(t.undoBuf)})
	}
	if !e.touched {
		e.touched = true
		tb.touched = append(tb.touched, e)
	}
}

// tableBytes is a table's part of the cache's budget.
func (t *Task) tableBytes() int { return t.cfg.CacheBytes / max(1, len(t.tables)) }

// evict frees entries that the store holds too, least recently used first, until the cache is within its budget. It is called between two
// records.
func (t *Task) evict() {
	part := t.tableBytes()
	for _, tb := range t.tables {
		budget := part - tb.knownBytes()
		for tries := 2 * len(tb.ring); tb.bytes > budget && tries > 0 && len(tb.ring) > 0; tries-- {
			if tb.hand >= len(tb.ring) {
				tb.hand = 0
			}
			e := tb.at(tb.ring[tb.hand])
			if e.visited || e.dirty || e.touched || e.frozen > t.appliedSeq || e.awaited == tb.awaited {
				e.visited = false
				tb.hand++
				continue
			}
			tb.drop(tb.hand)
		}
		tb.compact(t.streamEntry)
	}
	clear(t.slots)
}

// drop removes the entry at ring[i].
func (tb *table) drop(i int) {
	r := tb.ring[i]
	e := tb.at(r)
	tb.settleIndex(e, true)
	last := len(tb.ring) - 1
	tb.ring[i] = tb.ring[last]
	tb.ring = tb.ring[:last]
	tb.bytes -= tb.size(e)
	tb.remove(r)
	tb.discard(r)
}
