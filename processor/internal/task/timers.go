package task

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"unsafe"

	"github.com/penstock/penstock/processor/internal/topology"
)

// A timer is a state whose values are deadlines; overlay, cache, changelog and restore are those of any state. What is
// added is an index, and the way a deadline becomes a call.
//
// The index holds each key of a timer once, at its deadline or before: a deadline that moves away leaves the index alone,
// so that a session's time-out costs nothing at each record. It is a hint, never a value: what fires is decided by the
// state, the overlay before the cache (R1). Invariants:
//   - each key that has a deadline, pending or else committed, is in the index, at entry.indexed;
//   - the key of an entry that is not cached is there at its committed deadline exactly;
//   - after Keep and Abort, the key of an entry without a deadline is not there.

// timer is one of the application's timers in a task.
type timer struct {
	clock topology.Clock
	state int
	table *table
}

// notIndexed is where an entry without a deadline stands. A deadline of that value never fires.
const notIndexed = math.MaxInt64

// noTime is a clock that has not begun.
const noTime = math.MinInt64

// Firings bounds how many event-time timers one step fires before the transaction may be committed.
const Firings = 4096

// burstBytes bounds the memory that timers take before the transaction may be committed, in the cache and of effects.
const burstBytes = 1 << 20

func (t *Task) holds() int { return t.CacheBytes() + t.EffectBytes() }

// ErrDeadline says that a timer's state holds what is no deadline: something else wrote its changelog.
var ErrDeadline = errors.New("not a deadline")

// Timers are a partition's committed deadlines, by timer, and its stream time, for New.
type Timers struct {
	due    []deadlines
	stream []byte // value of the state's empty key; nil if there is none
}

// Scanner is the part of a store that ReadTimers uses; see statestore.Store.
type Scanner interface {
	Scan(lower, upper []byte, fn func(key, value []byte) error) error
}

// readingTimers is held by one read at a time: until it is sorted, what it reads takes its memory twice.
var readingTimers sync.Mutex

// ReadTimers reads a partition's deadlines from a store that is complete.
func ReadTimers(store Scanner, t *topology.Topology, partition int32) (*Timers, error) {
	r := &Timers{}
	if len(t.Timers) == 0 {
		return r, nil
	}
	readingTimers.Lock()
	defer readingTimers.Unlock()
	for _, tm := range t.Timers {
		lower := StatePrefix(partition, t.States[tm.State])
		upper := append([]byte(nil), lower...)
		upper[len(upper)-1]++
		var all []deadline
		err := store.Scan(lower, upper, func(key, value []byte) error {
			at, ok := topology.Deadline(value)
			if !ok {
				return fmt.Errorf("timer %q, partition %d, key %q: a value of %d bytes is %w", tm.Name, partition, key[len(lower):], len(value), ErrDeadline)
			}
			switch {
			case len(key) == len(lower):
				r.stream = append([]byte(nil), value...)
			case at != notIndexed:
				all = append(all, deadline{at, string(key[len(lower):])})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		r.due = append(r.due, newDeadlines(all))
	}
	return r, nil
}

// setTimers makes the task's timers from what was read.
func (t *Task) setTimers(r *Timers) {
	t.stream, t.streamKept = noTime, noTime
	for i, tm := range t.cfg.Topology.Timers {
		tb := t.tables[tm.State]
		tb.due = &deadlines{}
		if r != nil {
			tb.due = &r.due[i]
		}
		t.timers = append(t.timers, timer{tm.Clock, tm.State, tb})
		if tm.Clock != topology.EventTime || t.streamEntry != nil {
			continue
		}
		t.streamTable, t.streamEntry = tb, &entry{indexed: notIndexed}
		if r != nil && r.stream != nil {
			t.streamEntry.exists, t.streamEntry.stored = true, true
			tb.set(t.streamEntry, committed, r.stream)
			t.stream, _ = topology.Deadline(r.stream)
			t.streamKept = t.stream
		}
	}
}

// Stream time is kept in the state of the first event-time timer, under the empty key, which no record has. Its entry is
// no part of the cache, so that it is never evicted.
func (t *Task) prepareStream() {
	e := t.streamEntry
	if e == nil || t.stream == t.streamKept {
		return
	}
	if !e.touched {
		e.touched = true
		t.streamTable.touched = append(t.streamTable.touched, e)
	}
	e.phase = phaseSet
	t.streamTable.set(e, pending, topology.AppendDeadline(nil, t.stream))
}

// ErrTimersFirst says that timers fired, that more are due before the record, and that the record was not handled: the
// transaction may be committed, and the record is to be stepped again.
var ErrTimersFirst = errors.New("timers are due before the record")

// advance moves stream time to r's and fires what became due.
func (t *Task) advance(r *topology.Record, now int64) error {
	if r.Timestamp >= 0 {
		t.stream = max(t.stream, r.Timestamp)
	}
	held := t.holds()
	for n := 0; n < Firings && t.holds()-held < burstBytes; n++ {
		if fired, err := t.fireNext(topology.EventTime, t.stream, now); err != nil || !fired {
			return err
		}
	}
	return ErrTimersFirst
}

// NextTimer is the time, in Unix milliseconds, before which no wall-clock timer is due; false if there is none. It may
// lie before the earliest deadline: Due tells.
func (t *Task) NextTimer() (at int64, ok bool) {
	for _, tm := range t.timers {
		if d, any := tm.table.due.first(); any && tm.clock == topology.WallClock && (!ok || d.at < at) {
			at, ok = d.at, true
		}
	}
	return at, ok
}

// Due reports whether a timer is due: one of event time, or a wall-clock one whose deadline is not after wall.
func (t *Task) Due(wall int64) (bool, error) {
	d, err := t.due(topology.EventTime, t.stream)
	if d.entry == nil && err == nil {
		d, err = t.due(topology.WallClock, wall)
	}
	return d.entry != nil, err
}

// Tick fires at most limit timers that are due (see Due), in the order of their deadlines and then keys, and returns how
// many, and whether more may be due: it stops before those that fired hold much memory. Each is like a record: its effects stay in the overlay until Keep or Abort.
// The caller sees to R12. now is the wall clock in Unix milliseconds.
func (t *Task) Tick(wall, now int64, limit int) (n int, more bool, err error) {
	held := t.holds()
	for ; n < limit && t.holds()-held < burstBytes; n++ {
		fired, err := t.fireNext(topology.EventTime, t.stream, now)
		if err == nil && !fired {
			fired, err = t.fireNext(topology.WallClock, wall, now)
		}
		if err != nil || !fired {
			return n, false, err
		}
	}
	return n, true, nil
}

// due is a timer that is to fire.
type due struct {
	entry *entry // nil if there is none
	which int    // of Task.timers
	key   string // the index's own, which stays when the entry is gone
}

// due returns the first timer that is due.
func (t *Task) due(clock topology.Clock, until int64) (due, error) {
	for {
		which, first := -1, deadline{}
		for i, tm := range t.timers {
			if tm.clock != clock {
				continue
			}
			if d, ok := tm.table.due.first(); ok && d.at <= until && (which < 0 || compareDeadlines(d, first) < 0) {
				which, first = i, d
			}
		}
		if which < 0 {
			return due{}, nil
		}
		tb := t.timers[which].table
		e := tb.get(bytesOf(first.key))
		if e == nil {
			var err error
			if e, err = t.load(tb, bytesOf(first.key)); err != nil {
				return due{}, err
			}
		}
		if e.indexed != first.at {
			return due{}, fmt.Errorf("timer %q, key %q: its index stands at %d and its state at %d", t.cfg.Topology.Timers[which].Name, first.key, first.at, e.indexed)
		}
		if at := tb.deadline(e); at > first.at {
			tb.reindex(e, at) // moved away or cancelled since
			continue
		}
		return due{e, which, first.key}, nil
	}
}

// deadline is the entry's, as the next handler would see it; notIndexed if it has none.
func (s *slab) deadline(e *entry) int64 {
	which := committed
	switch {
	case e.phase == phaseSet:
		which = pending
	case e.phase == phaseRemoved || !e.exists:
		return notIndexed
	}
	at, ok := topology.Deadline(s.value(e, which))
	if !ok {
		return notIndexed // not ours: load refuses it
	}
	return at
}

// reindex puts the entry's key at a place in the index, or out of it.
func (tb *table) reindex(e *entry, at int64) {
	if e.indexed == at || e.keyLen == 0 {
		return
	}
	key, ok := "", false
	if e.indexed != notIndexed {
		key, ok = tb.due.remove(deadline{e.indexed, tb.key(e)})
	}
	if e.indexed = at; at == notIndexed {
		return
	}
	if !ok { // one of its own: the entry may be evicted
		key = strings.Clone(tb.key(e))
	}
	tb.due.add(deadline{at, key})
}

// settleIndex restores the invariants of an entry that left the transaction.
func (tb *table) settleIndex(e *entry, exact bool) {
	switch {
	case tb.due == nil:
	case exact || !e.exists:
		tb.reindex(e, tb.deadline(e))
	}
}

// fireNext fires the first timer that is due.
func (t *Task) fireNext(clock topology.Clock, until, now int64) (bool, error) {
	d, err := t.due(clock, until)
	if err != nil || d.entry == nil {
		return false, err
	}
	state := t.timers[d.which].state
	t.firing = topology.Record{Input: ^d.which, Partition: t.cfg.Partition, Offset: -1, Timestamp: d.entry.indexed, Key: bytesOf(d.key)}
	t.begin(&t.firing, now)
	t.remove(state, d.entry)
	t.fired = true
	t.stats.Timers++
	return true, t.settle(&t.firing, func() {
		t.remove(state, d.entry) // a timer that failed is gone nevertheless
	})
}

func (t *Task) remove(state int, e *entry) {
	e.visited = true
	t.touch(state, e)
	e.phase = phaseRemoved
	t.tables[state].reindex(e, notIndexed)
}

// EachTimer calls fn for each deadline of a timer as the next handler would see it, in Unix milliseconds.
func (t *Task) EachTimer(which int, fn func(key string, at int64)) error {
	tb := t.timers[which].table
	var all []deadline
	tb.due.all(func(d deadline) { all = append(all, d) })
	for _, d := range all {
		e := tb.get(bytesOf(d.key))
		if e == nil {
			var err error
			if e, err = t.load(tb, bytesOf(d.key)); err != nil {
				return err
			}
		}
		if at := tb.deadline(e); at != notIndexed {
			fn(d.key, at)
		}
	}
	return nil
}

// bytesOf returns the bytes of a key, which must not be changed. They are not nil, so that the key is not a null one.
func bytesOf(key string) []byte {
	if key == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(key), len(key))
}
