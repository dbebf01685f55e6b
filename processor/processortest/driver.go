// Package processortest drives an application in a test, without a broker: records go in, time passes, commits, aborts and
// crashes happen where the test says, and outputs, state, timers and dead letters are read as a committed reader would see
// them. It runs the step code that production runs.
//
//	d := processortest.New(t, app)           // one partition, at 2024-01-01 00:00 UTC
//	d.Send("clicks", "ada", "/home")         // handled at once, in the open transaction
//	d.Advance(31 * time.Minute)              // timers that fall due fire
//	d.Crash()                                // the transaction is lost; its records are handled again
//	d.Commit()                               // now everyone sees the outputs, and the state is kept
//	require.Equal(t, ..., processortest.Values(d, "visits-ended", codec.Text()))
//
// What is not committed is seen by no reader: a test that forgets to call Commit reads nothing. After a Crash or an Abort
// the records are handled again and the outputs are there once: a handler that passes with a fault at any place of the test
// reads no clock, no random number and no variable of its own.
//
// Package processortest/script runs scenarios that are written as text.
//
// For those who know TopologyTestDriver of Kafka Streams:
//
//	createInputTopic, pipeInput          Send, SendValue, SendRecord (headers, timestamps, null keys and values)
//	createOutputTopic, readRecord        Take: what came since the last one; Output: all of it
//	readValuesToList                     Values
//	advanceWallClockTime                 Advance: each timer fires at its own deadline
//	advance event time by a record       SendRecord with a Timestamp
//	getKeyValueStore(name).get(key)      StateValue; State and Timers for all keys
//	a changelog as an output topic       Changelog
//	pipeInput on a GlobalKTable's topic  Send, on a Table's topic
//	close                                not needed
//	(none)                               Commit, Abort, Flush, Crash, CrashAndWipe, Restart, DeadLetters, LimitCache
package processortest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// Record is one record of a topic. A nil Key or Value is a null one.
type Record struct {
	Topic     string
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   map[string]string
	Timestamp time.Time
}

// Driver is an application on one partition. It begins at 2024-01-01 00:00 UTC. It is used by one goroutine.
type Driver struct {
	t     testing.TB
	topo  *topology.Topology
	store *statestore.Memory
	arena task.Arena
	task  *task.Task
	now   time.Time

	inputs     [][]topology.Record // by input
	changelogs [][]task.Effect     // by state, committed
	committed  []Record            // outputs and dead letters
	taken      map[string]int      // by topic: the records that Take returned
	pending    []task.Effect       // of the open transaction
	offsets    []int64             // committed, by input
	known      task.Identity
	kept       kept // of earlier forms of the application
	cache      int
	stages     map[string]*Driver // by input of processor.HandleBy
	rows       rows
}

// New opens an application. What a test did not ask for ends it: a fault of the declaration, of the engine, or a Context
// that is used after its handler returned or by another goroutine, which panics. In an Example t is nil: every fault
// panics.
func New(t testing.TB, app *processor.App) *Driver {
	if t == nil {
		t = example{}
	}
	t.Helper()
	topo, err := app.Topology()
	if err != nil {
		t.Fatal(err)
	}
	return open(t, topo)
}

func open(t testing.TB, topo *topology.Topology) *Driver {
	topo.Bind = topo.BindStrict
	d := &Driver{t: t, topo: topo, store: statestore.NewMemory(), now: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC),
		inputs: make([][]topology.Record, len(topo.Inputs)), changelogs: make([][]task.Effect, len(topo.States)), taken: map[string]int{},
		offsets: make([]int64, len(topo.Inputs)), rows: rows{topo.Tables, map[string]string{}}, known: task.Identity{Format: 1, App: topo.ID, States: topo.States}}
	d.open()
	d.openStages()
	return d
}

// openStages makes a driver for each application that gives an input its key.
func (d *Driver) openStages() {
	d.stages = map[string]*Driver{}
	for _, before := range d.topo.Before {
		d.stages[before.Inputs[0]] = open(d.t, before)
	}
}

// rekey sends a record through the stage that gives it its key. That stage keeps nothing: its part is committed at once.
func (d *Driver) rekey(stage *Driver, r Record) {
	d.t.Helper()
	stage.now = d.now
	stage.SendRecord(r)
	stage.Commit()
	to := stage.topo.Outputs[0]
	for _, r := range stage.Take(to) {
		d.SendRecord(r)
	}
	d.committed = append(d.committed, stage.Take(stage.topo.DeadLetterTopic())...)
}

// example is a testing.TB where there is none.
type example struct{ testing.TB }

func (example) Helper() {}

func (example) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func (example) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// Send appends a record to an input and handles it in the open transaction.
func (d *Driver) Send(topic, key, value string) {
	d.t.Helper()
	d.SendRecord(Record{Topic: topic, Key: []byte(key), Value: []byte(value)})
}

// SendValue is Send for a value that is encoded.
func SendValue[T any](d *Driver, topic, key string, c codec.Codec[T], v T) {
	d.t.Helper()
	raw, err := c.Append(nil, v)
	if err != nil {
		d.t.Fatalf("encode %v for topic %s: %v", v, topic, err)
	}
	d.SendRecord(Record{Topic: topic, Key: []byte(key), Value: raw})
}

// SendRecord is Send for null keys and values, headers and timestamps. A zero Timestamp is the driver's clock. A record of
// a table's topic is in the table at once, for good: it is no part of the open transaction, and no crash takes it away.
func (d *Driver) SendRecord(r Record) {
	d.t.Helper()
	if slices.Contains(d.topo.Tables, r.Topic) {
		d.rows.put(r)
		return
	}
	if r.Timestamp.IsZero() {
		r.Timestamp = d.now
	}
	if stage := d.stages[r.Topic]; stage != nil {
		d.rekey(stage, r)
		return
	}
	input := d.input(r.Topic)
	in := topology.Record{Input: input, Offset: int64(len(d.inputs[input])), Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	for k, v := range r.Headers {
		in.Headers = append(in.Headers, topology.Header{Key: k, Value: []byte(v)})
	}
	d.inputs[input] = append(d.inputs[input], in)
	d.step(&in)
}

func (d *Driver) input(topic string) int {
	d.t.Helper()
	for i, name := range d.topo.Inputs {
		if name == topic {
			return i
		}
	}
	d.t.Fatalf("topic %q is neither an input nor a table of application %q", topic, d.topo.ID)
	return -1
}

func (d *Driver) step(r *topology.Record) {
	d.t.Helper()
	err := task.ErrTimersFirst
	for errors.Is(err, task.ErrTimersFirst) {
		err = d.task.Step(r, d.now.UnixMilli())
	}
	if err != nil {
		d.t.Fatalf("engine fault at topic %s offset %d: %v", d.topo.Inputs[r.Input], r.Offset, err)
	}
	d.tick(math.MinInt64) // those of event time
}

// tick fires the timers that are due, wall-clock ones up to wall.
func (d *Driver) tick(wall int64) {
	d.t.Helper()
	const some = 1024
	for more := true; more; {
		var err error
		if _, more, err = d.task.Tick(wall, d.now.UnixMilli(), some); err != nil {
			d.t.Fatalf("engine fault at a timer: %v", err)
		}
		d.collect()
	}
}

func (d *Driver) collect() {
	for _, e := range d.task.Effects() {
		e.Key, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Value)
		d.pending = append(d.pending, e)
	}
	d.task.ClearEffects()
}

// Advance lets time pass on the wall clock. The timers that fall due meanwhile fire in the open transaction, each at its
// deadline: a timer that sets itself again may fire several times. Event time moves by records alone.
func (d *Driver) Advance(by time.Duration) {
	d.t.Helper()
	to := d.now.Add(by)
	for at, ok := d.task.NextTimer(); ok && at <= to.UnixMilli(); at, ok = d.task.NextTimer() {
		if now := time.UnixMilli(at).UTC(); now.After(d.now) {
			d.now = now
		}
		d.tick(at)
	}
	d.now = to
}

// Now is the wall clock.
func (d *Driver) Now() time.Time { return d.now }

// Commit ends the transaction: its outputs, state and offsets are there for all to see.
func (d *Driver) Commit() {
	d.task.Prepare(nil)
	d.collect()
	ends := make([]int64, len(d.changelogs))
	for _, e := range d.pending {
		e.Value = clone(e.Value)
		if e.Kind == task.Changelog {
			d.changelogs[e.Index] = append(d.changelogs[e.Index], e)
			continue
		}
		d.committed = append(d.committed, d.record(e))
	}
	for i := range ends {
		ends[i] = int64(len(d.changelogs[i]))
	}
	d.pending = nil
	for i := range d.offsets {
		d.offsets[i] = d.task.Next(i)
	}
	d.task.Keep(ends, d.now.UnixMilli())
	d.arena.Reset()
}

func (d *Driver) record(e task.Effect) Record {
	r := Record{Topic: d.topo.DeadLetterTopic(), Offset: int64(len(d.committed)), Key: e.Key, Value: e.Value, Timestamp: time.UnixMilli(e.Timestamp).UTC()}
	if e.Kind == task.Output {
		r.Topic = d.topo.Outputs[e.Index]
	}
	if len(e.Headers) > 0 {
		r.Headers = map[string]string{}
	}
	for _, h := range e.Headers {
		r.Headers[h.Key] = string(h.Value)
	}
	return r
}

// Abort ends the transaction without effect, and handles its records again in the next one, as the engine does; then
// timers fire that are due (R12).
func (d *Driver) Abort() {
	d.t.Helper()
	d.pending = nil
	d.task.Abort()
	d.replay()
}

// Flush moves the committed state to the local store, which a Crash keeps.
func (d *Driver) Flush() {
	d.t.Helper()
	var b statestore.Batch
	seq := d.task.Freeze(&b, d.known)
	if err := errors.Join(d.store.Apply(&b), d.store.Flush()); err != nil {
		d.t.Fatal(err)
	}
	d.task.Applied(seq)
}

// Crash stops the process at once and starts it again: the open transaction is lost, the local store is what the last
// Flush left, and the rest comes from the changelog.
func (d *Driver) Crash() {
	d.t.Helper()
	d.store.Crash()
	d.restart()
}

// CrashAndWipe is Crash with the local store lost.
func (d *Driver) CrashAndWipe() {
	d.t.Helper()
	d.store = statestore.NewMemory()
	d.restart()
}

func (d *Driver) restart() {
	d.t.Helper()
	d.pending = nil
	d.open()
	d.replay()
}

// open makes the task from the store and what the changelog holds beyond it.
func (d *Driver) open() {
	d.t.Helper()
	at, ok, err := task.ReadPosition(d.store, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	if !ok {
		at = task.Position{Identity: d.known, Changelogs: make([]int64, len(d.changelogs))}
	}
	var b statestore.Batch
	for state, log := range d.changelogs {
		prefix := task.StatePrefix(0, d.topo.States[state])
		for _, e := range log[at.Changelogs[state]:] {
			key := append(append([]byte(nil), prefix...), e.Key...)
			if e.Value == nil {
				b.Delete(key)
			} else {
				b.Set(key, e.Value)
			}
		}
		at.Changelogs[state] = int64(len(log))
	}
	at.Inputs = append([]int64(nil), d.offsets...)
	task.WritePosition(&b, 0, at)
	if err := d.store.Apply(&b); err != nil {
		d.t.Fatal(err)
	}
	timers, err := task.ReadTimers(d.store, d.topo, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	d.arena.Reset()
	d.task = task.New(task.Config{Topology: d.topo, Store: d.store, Arena: &d.arena, CacheBytes: d.cache, Timers: timers, Tables: d.rows}, at)
}

// LimitCache bounds the committed cache in bytes, so that keys beyond it are read from the store.
func (d *Driver) LimitCache(bytes int) {
	d.cache = bytes
	d.task.SetCacheBytes(bytes)
}

// replay handles the records beyond the committed offsets.
func (d *Driver) replay() {
	d.t.Helper()
	for input, records := range d.inputs {
		for i := d.offsets[input]; i < int64(len(records)); i++ {
			r := records[i]
			d.step(&r)
		}
	}
	d.tick(d.now.UnixMilli())
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}
