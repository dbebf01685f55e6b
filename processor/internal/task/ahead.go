package task

import "github.com/penstock/penstock/statestore"

// AheadEvery is after how many records [Task.Ahead] is to be called again: enough for the waits for memory of their entries to
// overlap, few enough for these to be still in the processor's cache when they are stepped.
const AheadEvery = 16

// Ahead prepares for the next n records of the partition, of which key tells the keys. It changes how long they take, and
// nothing else: what cannot be read now is read when its record is stepped, which tells why not.
func (t *Task) Ahead(n int, key func(i int) []byte) {
	if t.readIn -= AheadEvery; t.readIn <= 0 {
		t.readIn = t.readAhead(n, key)
	}
	var next [AheadEvery][]byte
	keys := next[:min(n, AheadEvery)]
	for i := range keys {
		keys[i] = key(i)
	}
	for _, tb := range t.tables {
		t.warmed += tb.warm(keys)
	}
}

// Bounds of what is read ahead.
const (
	readAheadMost  = 16 << 10 // records at a time: the more there are, the less a read costs
	readAheadPart  = 2        // of a table's part of the cache, 1 in so many bytes, that may wait for their records
	readAheadAsked = 2        // a state is read ahead if 1 in so many records asked for it,
	readAheadMiss  = 8        // and the store was asked for 1 in so many of them
)

// readAhead reads what the store holds for the next records, of the states that the last ones asked it for. It returns
// after how many records it is to be called again.
func (t *Task) readAhead(n int, key func(i int) []byte) int {
	n = min(n, readAheadMost, max(AheadEvery, t.tableBytes()/readAheadPart/t.entryBytes()))
	stepped := int(t.recSeq - t.readSeq)
	t.readSeq = t.recSeq
	for _, tb := range t.tables {
		wanted := stepped > 0 && tb.asked*readAheadAsked >= stepped && tb.missed*readAheadMiss >= tb.asked
		tb.asked, tb.missed = 0, 0
		tb.awaited = tb.awaited%255 + 1 // those of the last time are awaited no longer
		if wanted {
			t.readTable(tb, n, key)
		}
	}
	return n
}

// entryBytes is what an entry costs on the average, of the table where they are largest.
func (t *Task) entryBytes() int {
	most := entryBytes
	for _, tb := range t.tables {
		most = max(most, tb.bytes/max(1, len(tb.ring)))
	}
	return most
}

// readTable brings the entries of the next n records into the cache, where they stay until these are stepped.
func (t *Task) readTable(tb *table, n int, key func(i int) []byte) {
	t.keys.Reset()
	for i := range n {
		k := key(i)
		switch e := tb.get(k); {
		case e != nil:
			e.awaited = tb.awaited
		case tb.absent(k):
			r := tb.create(k)
			tb.at(r).awaited = tb.awaited
			_ = tb.admit(r, false) // no value, no fault
		default:
			t.keys.Add(tb.storeKey(k))
		}
	}
	if t.keys.Len() == 0 {
		return
	}
	// An error, of the store or a value, is met again by the step that needs it.
	held, most := tb.bytes, t.tableBytes()/readAheadPart
	_ = t.cfg.Store.GetAll(&t.keys, func(key, value []byte, ok bool) error {
		if tb.bytes-held >= most {
			return statestore.ErrStop // larger ones than before: the rest is read when it is stepped
		}
		r := tb.create(key[len(tb.prefix):])
		e := tb.at(r)
		tb.set(e, committed, value)
		e.awaited = tb.awaited
		t.stats.StoreReads++
		tb.missed++
		return tb.admit(r, ok)
	})
}
