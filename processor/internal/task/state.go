package task

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/penstock/penstock/processor/internal/topology"
)

// table is one state of one task: the overlay and the committed cache in one index, so that a record costs one lookup.
//
// Invariant (R1): value, exists and dirty change in Keep alone, that is by committed transactions.
type table struct {
	prefix  []byte // of its keys in the store
	keyBuf  []byte
	entries index
	ring    []*entry // all entries, for the eviction's hand
	hand    int
	bytes   int // estimate of the memory in use

	touched []*entry // changed in this transaction
	dirty   []*entry // committed but not yet frozen
	// freezing are entries of the last freezes, until all are applied; entry.frozen tells whether the entry's own is.
	freezing []*entry

	due *deadlines // of a timer's table: its index; else nil

	// What the records asked for since the last Task.readAhead, and how much of it the store was asked for; and the mark of
	// the entries that the next ones will ask for, never 0.
	asked, missed int
	awaited       uint8

	// Of the keys that the store may hold: those that it held, nil until that is known, and those written since.
	known, written *keySet
}

type phase uint8

const (
	phaseNone    phase = iota // nothing pending
	phaseSet                  // pending is the new value
	phaseRemoved              // the value is to be removed
)

// entry is one key's value.
type entry struct {
	key     string
	value   []byte // committed
	pending []byte // overlay, where phase is phaseSet; its memory is reused
	frozen  uint64 // the freeze that holds the value; the store has it once that is applied
	recSeq  uint64 // the last record that changed the entry
	indexed int64  // where the key stands in table.due
	exists  bool   // committed
	phase   phase
	touched bool  // in table.touched
	changes bool  // Prepare found that the transaction changes the committed value
	dirty   bool  // in table.dirty
	stored  bool  // a freeze wrote the key, or the store was seen to hold it
	visited bool  // since the eviction's hand came by
	awaited uint8 // by a record to come, while it equals table.awaited
}

// cell is an entry with room for a short key and short values beside it, so that a record meets one piece of memory. A
// longer one lies elsewhere.
type cell struct {
	key [cellBytes]byte
	entry
	values [2][cellBytes]byte
}

const cellBytes = 32

// newEntry returns an entry of a key, without a value.
func newEntry(key []byte) *entry {
	c := new(cell)
	c.value, c.pending = c.values[0][:0], c.values[1][:0]
	if len(key) > cellBytes {
		c.entry.key = string(key)
	} else if n := copy(c.key[:], key); n > 0 {
		c.entry.key = unsafe.String(&c.key[0], n)
	}
	return &c.entry
}

// entryOverhead is what an entry costs beside its bytes, index and ring included.
const entryOverhead = 200

// minEntryBytes is the least size of an entry.
const minEntryBytes = entryOverhead + 2*cellBytes

type undo struct {
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
	e := tb.entries.get(t.record.Key)
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
	e, ok := newEntry(key), false
	if !tb.absent(key) {
		t.stats.StoreReads++
		tb.missed++
		var err error
		if e.value, ok, err = t.cfg.Store.Get(e.value, tb.storeKey(key)); err != nil {
			return nil, err
		}
	}
	return e, tb.admit(e, ok)
}

// storeKey is a key as the store has it, until the next call.
func (tb *table) storeKey(key []byte) []byte {
	tb.keyBuf = append(append(tb.keyBuf[:0], tb.prefix...), key...)
	return tb.keyBuf
}

// admit takes an entry that holds what the store has of its key, if it has it, into the cache.
func (tb *table) admit(e *entry, stored bool) error {
	e.exists, e.stored, e.indexed = stored, stored, notIndexed
	if tb.due != nil && e.exists {
		var ok bool
		if e.indexed, ok = topology.Deadline(e.value); !ok {
			return fmt.Errorf("key %q of a timer: a value of %d bytes is %w", e.key, len(e.value), ErrDeadline)
		}
	}
	tb.entries.put(e)
	tb.ring = append(tb.ring, e)
	tb.bytes += e.size()
	return nil
}

func (e *entry) size() int { return entryOverhead + len(e.key) + cap(e.value) + cap(e.pending) }

// touch notes what must be undone if the record is rejected, and puts the entry into the transaction.
func (t *Task) touch(state int, e *entry) {
	if e.recSeq != t.recSeq {
		e.recSeq = t.recSeq
		from := len(t.undoBuf)
		if e.phase == phaseSet {
			t.undoBuf = append(t.undoBuf, e.pending...)
		}
		t.undo = append(t.undo, undo{e, e.phase, from, len(t.undoBuf)})
	}
	if !e.touched {
		e.touched = true
		t.tables[state].touched = append(t.tables[state].touched, e)
	}
}

// tableBytes is a table's part of the cache's budget.
func (t *Task) tableBytes() int { return t.cfg.CacheBytes / max(1, len(t.tables)) }

// evict frees entries that the store holds too, least recently used first, until the cache is within its budget.
func (t *Task) evict() {
	part := t.tableBytes()
	for _, tb := range t.tables {
		budget := part - tb.knownBytes()
		for tries := 2 * len(tb.ring); tb.bytes > budget && tries > 0 && len(tb.ring) > 0; tries-- {
			if tb.hand >= len(tb.ring) {
				tb.hand = 0
			}
			e := tb.ring[tb.hand]
			if e.visited || e.dirty || e.touched || e.frozen > t.appliedSeq || e.awaited == tb.awaited {
				e.visited = false
				tb.hand++
				continue
			}
			tb.drop(tb.hand)
		}
	}
}

// drop removes the entry at ring[i].
func (tb *table) drop(i int) {
	e := tb.ring[i]
	tb.settleIndex(e, true)
	last := len(tb.ring) - 1
	tb.ring[i] = tb.ring[last]
	tb.ring[last] = nil
	tb.ring = tb.ring[:last]
	tb.bytes -= e.size()
	tb.entries.remove(e)
}
