// Package topology is the plain form of an application: what the typed edges of package processor are turned into
// before the engine, or a test driver, runs them. It holds bytes and indices only.
package topology

import (
	"encoding/binary"
	"slices"
	"strings"
)

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record of an input. Its slices belong to the runtime and are valid while it is handled; a nil Key or
// Value is a null one.
type Record struct {
	// Input is an index into Topology.Inputs. A negative one is a timer that fires: ^Input is an index into
	// Topology.Timers, Offset is -1, Timestamp the deadline, and Value is nil.
	Input     int
	Partition int32
	Offset    int64
	Timestamp int64 // Unix milliseconds, negative if the record has none
	Key       []byte
	Value     []byte
	Headers   []Header
	// Trace are headers that what is emitted for the record carries in place of any of their names; nil for most.
	Trace []Header
}

// Emission is one record for an output. Its slices are copied by the runtime, Key excepted where it is the record's.
type Emission struct {
	Output  int // index into Topology.Outputs
	Key     []byte
	Value   []byte
	Headers []Header
	// Latest asks to keep this emission only if no later one for the same output and key follows in the transaction.
	Latest bool
}

// Runtime is what a bound program acts on: the state of the current record's key, and its outputs.
type Runtime interface {
	// Get returns the state's value for the current key. The slice is valid until the state is changed.
	Get(state int) (value []byte, ok bool, err error)
	// Lookup returns a table's row of a key. The slice is the caller's.
	Lookup(table int, key []byte) (value []byte, ok bool, err error)
	// Set copies value. An error rejects the record.
	Set(state int, value []byte) error
	// Remove deletes the state's value for the current key, if there is one.
	Remove(state int) error
	// Emit adds a record to an output. An error rejects the record.
	Emit(e Emission) error
	// Now is the wall clock of this step in Unix milliseconds.
	Now() int64
}

// Handler runs the program's code for one record, or for one timer that fires.
type Handler interface {
	// Handle returns nil, a *Rejection (the record is at fault), a *Defect (the program is) or any other error (the runtime is).
	Handle(r *Record) error
}

// Clock is what a timer's deadline is compared with.
type Clock int

const (
	WallClock Clock = iota
	EventTime       // the greatest timestamp of the partition's records
)

// Timer is one kind of timer. Its deadlines are the values of a state, see [AppendDeadline].
type Timer struct {
	Name  string
	Clock Clock
	State int // index into Topology.States
}

// AppendDeadline encodes a deadline, in Unix milliseconds, as the value of a timer's state: 8 bytes, big endian.
func AppendDeadline(dst []byte, ms int64) []byte {
	return binary.BigEndian.AppendUint64(dst, uint64(ms))
}

// Deadline decodes what AppendDeadline wrote.
func Deadline(value []byte) (ms int64, ok bool) {
	if len(value) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(value)), true
}

// Topology is a checked application.
type Topology struct {
	ID      string
	Inputs  []string // topics; the first decides the partition count
	States  []string // names; a timer's is TimerState of its name
	Outputs []string // topics
	Tables  []string // topics
	Timers  []Timer
	// Internal are inputs and outputs that the engine makes: repartition topics.
	Internal []string
	// Before are the applications that fill this one's internal inputs. Each has one input, and one output: an internal one.
	Before []*Topology
	// Bind makes a handler that acts on rt. Each task binds its own.
	Bind func(rt Runtime) Handler
	// BindStrict is Bind for tests: a context that outlives its call, or leaves its goroutine, panics when it is used.
	BindStrict func(rt Runtime) Handler
}

// timerPrefix begins the name of a timer's state; no name of a program's own state has a colon.
const timerPrefix = "timer:"

// TimerState is the name of the state that holds a timer's deadlines.
func TimerState(timer string) string { return timerPrefix + timer }

// HeaderFormat is the header of a changelog record whose value is more than the state's codec alone, which is format 1 and
// has no header.
const HeaderFormat = "penstock.format"

// ChangelogTopic is the name of the compacted topic that holds a state.
func (t *Topology) ChangelogTopic(state int) string { return Changelog(t.ID, t.States[state]) }

// Changelog is the name of the compacted topic that holds an application's state.
func Changelog(app, state string) string {
	if timer, ok := strings.CutPrefix(state, timerPrefix); ok {
		return app + "-" + timer + "-timers"
	}
	return app + "-" + state + "-changelog"
}

// RepartitionTopic is the name of the internal topic that an application's input goes through, and the id of the
// application that fills it.
func RepartitionTopic(app, topic string) string { return app + "-" + topic + "-repartition" }

// IsInternal reports whether a topic is made by the engine.
func (t *Topology) IsInternal(topic string) bool { return slices.Contains(t.Internal, topic) }

// Filler is the application that fills an internal input, nil for another input.
func (t *Topology) Filler(input string) *Topology {
	for _, b := range t.Before {
		if b.Outputs[0] == input {
			return b
		}
	}
	return nil
}

// Source is the topic a record comes from: an input, or the changelog of the timer that fires.
func (t *Topology) Source(r *Record) string {
	if r.Input < 0 {
		return t.ChangelogTopic(t.Timers[^r.Input].State)
	}
	return t.Inputs[r.Input]
}

// DeadLetterTopic is the name of the topic that receives rejected records.
func (t *Topology) DeadLetterTopic() string { return t.ID + "-dead-letters" }

// Writes are all topics that the application writes to.
func (t *Topology) Writes() []string {
	list := append(slices.Clone(t.Outputs), t.DeadLetterTopic())
	for state := range t.States {
		list = append(list, t.ChangelogTopic(state))
	}
	return list
}

// Rejection says that a record, not the engine, is at fault.
type Rejection struct {
	Reason string // a short fixed word
	Err    error  // what exactly
}

func (r *Rejection) Error() string {
	if r.Err == nil {
		return r.Reason
	}
	return r.Reason + ": " + r.Err.Error()
}

func (r *Rejection) Unwrap() error { return r.Err }

// Defect says that the program does not fit its state or itself: neither another record nor another try is any better.
type Defect struct{ Err error }

func (d *Defect) Error() string { return d.Err.Error() }

func (d *Defect) Unwrap() error { return d.Err }
