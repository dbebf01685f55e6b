// Package topology is the plain form of an application: what the typed edges of package processor are turned into
// before the engine, or a test driver, runs them. It holds bytes and indices only.
package topology

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one record of an input. Its slices belong to the runtime and are valid while it is handled; a nil Key or
// Value is a null one.
type Record struct {
	Input     int // index into Topology.Inputs
	Partition int32
	Offset    int64
	Timestamp int64 // Unix milliseconds, negative if the record has none
	Key       []byte
	Value     []byte
	Headers   []Header
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
	// Set copies value. An error rejects the record.
	Set(state int, value []byte) error
	// Remove deletes the state's value for the current key, if there is one.
	Remove(state int) error
	// Emit adds a record to an output. An error rejects the record.
	Emit(e Emission) error
	// Now is the wall clock of this step in Unix milliseconds.
	Now() int64
}

// Handler runs the program's code for one record.
type Handler interface {
	// Handle returns nil, a *Rejection (the record is at fault) or any other error (the runtime or its state is).
	Handle(r *Record) error
}

// Topology is a checked application.
type Topology struct {
	ID      string
	Inputs  []string // topics; the first decides the partition count
	States  []string
	Outputs []string // topics
	// Bind makes a handler that acts on rt. Each task binds its own.
	Bind func(rt Runtime) Handler
}

// ChangelogTopic is the name of the compacted topic that holds a state.
func (t *Topology) ChangelogTopic(state int) string {
	return t.ID + "-" + t.States[state] + "-changelog"
}

// DeadLetterTopic is the name of the topic that receives rejected records.
func (t *Topology) DeadLetterTopic() string { return t.ID + "-dead-letters" }

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
