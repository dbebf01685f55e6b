package task

import (
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// Reader is the part of a statestore.Store that a task uses.
type Reader interface {
	Get(dst, key []byte) (value []byte, ok bool, err error)
	GetAll(keys *statestore.Keys, fn func(key, value []byte, ok bool) error) error
}

// Tables is where rows are looked up. The slice is the caller's.
type Tables interface {
	Lookup(table int, key []byte) (value []byte, ok bool, err error)
}

// BadInput is what happens to a record that is rejected.
type BadInput int

const (
	DeadLetter BadInput = iota // it goes to the dead-letter topic, in the same transaction
	Skip                       // it is counted and passed over
	Fail                       // the application stops and names the place
)

// Limits is what the broker takes, found before anything is produced (R9).
type Limits struct {
	Outputs    []TopicLimit // by output
	Changelogs []TopicLimit // by state
	DeadLetter TopicLimit
}

// TopicLimit is one topic's. The zero value limits nothing.
type TopicLimit struct {
	RecordBytes   int   // of one record, its overhead included
	TimeBeforeMax int64 // milliseconds a timestamp may lie before the wall clock
	TimeAfterMax  int64 // and after
}

// Config is what a task is made from.
type Config struct {
	Topology   *topology.Topology
	Partition  int32
	Store      Reader
	Arena      *Arena // bytes of emissions that are held back; reset by its owner when a transaction is over
	Limits     Limits
	BadInput   BadInput
	CacheBytes int // budget of the committed cache; 0: 32 MiB
	// Timers is what ReadTimers found in Store. May be nil if the store holds none.
	Timers *Timers
	// Tables answers for the rows of Topology.Tables. May be nil where there are none.
	Tables Tables
	// Rejected is told of each rejected record or timer, after its effects were undone. May be nil.
	Rejected func(r *topology.Record, why *topology.Rejection)
}

// Kind is what an effect is.
type Kind uint8

const (
	Output         Kind = iota // Index: into Topology.Outputs
	Changelog                  // Index: into Topology.States
	DeadLetterKind             // Index: 0
)

// Effect is one record to produce in the open transaction. Its key, headers and value are valid until ClearEffects.
type Effect struct {
	Kind      Kind
	Index     int
	Key       []byte
	Value     []byte // nil: a tombstone
	Headers   []topology.Header
	Timestamp int64 // Unix milliseconds
}

// Task is one partition of all inputs.
type Task struct {
	cfg     Config
	handler topology.Handler
	tables  []*table

	// Invariant: committed[i] <= next[i]; they are equal when no transaction touches the task.
	next      []int64 // by input: the offset expected next (R4)
	committed []int64 // by input: next at the last commit

	changelog []int64 // by state: position, the offset after the last committed record of this partition's changelog

	now     int64
	record  *topology.Record
	slots   []*entry // by state: the current key's entry, nil until asked for
	undo    []undo
	undoBuf []byte
	recSeq  uint64

	effects []Effect
	values  []byte            // of effects
	latest  map[latestKey]int // into held
	held    []Effect          // emissions that a later one may replace
	stats   Stats
	warmed  uint64 // of no meaning: what was read to warm the processor's cache
	readSeq uint64 // recSeq at the last readAhead
	readIn  int    // after how many records readAhead is due
	keys    statestore.Keys
	readBuf []byte

	removing []int   // states that the current record removed its key's value from
	removes  []int64 // by state: how often that was done in this transaction

	timers []timer
	fired  bool // a timer, in this transaction
	firing topology.Record
	// Stream time, the greatest timestamp of any record, and that of the last commit; noTime before the first record.
	// The entry is nil if no timer is of event time.
	stream, streamKept int64
	streamTable        *table
	streamEntry        *entry

	freezeSeq  uint64
	appliedSeq uint64
	// refreshed is the wall clock, in Unix milliseconds, at which the state was known to be current (R7).
	refreshed int64
}

// Stats counts since the task was opened.
type Stats struct {
	Records    uint64 // handled
	Timers     uint64 // fired
	Rejected   uint64
	Lookups    uint64 // of a key in a state, one for each record and state
	StoreReads uint64 // those that the cache did not answer
	Checks     uint64 // continuity checks (R4)
	Violations uint64 // of them failed
}

// New makes a task at the given position.
func New(cfg Config, at Position) *Task {
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = 32 << 20
	}
	t := &Task{
		cfg:       cfg,
		next:      append([]int64(nil), at.Inputs...),
		committed: append([]int64(nil), at.Inputs...),
		changelog: append([]int64(nil), at.Changelogs...),
		slots:     make([]*entry, len(cfg.Topology.States)),
		latest:    map[latestKey]int{},
		removes:   make([]int64, len(cfg.Topology.States)),
		refreshed: at.Time,
	}
	for _, name := range cfg.Topology.States {
		t.tables = append(t.tables, newTable(cfg.Partition, name))
	}
	t.setTimers(cfg.Timers)
	t.handler = cfg.Topology.Bind(t)
	return t
}

// Partition is the input partition, and the changelog's.
func (t *Task) Partition() int32 { return t.cfg.Partition }

// Next is the offset expected next on an input.
func (t *Task) Next(input int) int64 { return t.next[input] }

// Changelog is the position in a state's changelog: nothing that counts lies at it or above.
func (t *Task) Changelog(state int) int64 { return t.changelog[state] }

// Refresh notes that the state is the changelog's at this time (R7), in Unix milliseconds, as its owner knows while
// nobody else writes. It returns true.
func (t *Task) Refresh(now int64) bool {
	t.refreshed = now
	return true
}

// Moved reports whether a record or marker was passed, or a timer fired, since the last commit.
func (t *Task) Moved() bool {
	if t.fired {
		return true
	}
	for i := range t.next {
		if t.next[i] != t.committed[i] {
			return true
		}
	}
	return false
}

// Effects returns the effects since the last call to ClearEffects.
func (t *Task) Effects() []Effect { return t.effects }

// EffectBytes is the memory of the effects' values, in bytes.
func (t *Task) EffectBytes() int { return len(t.values) }

// keptBytes bounds each buffer that waits for its next use: one large value does not stay.
const keptBytes = 256 << 10

// kept empties a buffer.
func kept(buf []byte) []byte {
	if cap(buf) > keptBytes {
		return nil
	}
	return buf[:0]
}

// ClearEffects forgets the effects, once they are handed to the producer.
func (t *Task) ClearEffects() {
	clear(t.effects)
	t.effects, t.values = t.effects[:0], kept(t.values)
}

// Removes is, by state, how often this transaction removed a key's value.
func (t *Task) Removes() []int64 { return t.removes }

// TakeStats returns the counts since the last call.
func (t *Task) TakeStats() Stats {
	s := t.stats
	t.stats = Stats{}
	return s
}

// SetCacheBytes changes the budget of the committed cache.
func (t *Task) SetCacheBytes(n int) { t.cfg.CacheBytes = n }
