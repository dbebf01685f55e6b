package processor

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/internal/topology"
)

// Context is a handler's view of the record it handles, or of the timer that fires. It belongs to the handler's goroutine
// and is valid until the handler returns. Any other use is a fault of the program: processortest panics and says which, the
// engine does where it can tell.
type Context struct {
	app    *App
	rt     topology.Runtime
	record *topology.Record
	buf    []byte // encoding scratch

	goroutine string // that of the handler; "": not checked

	fault    error // of the engine: sticks, fails the task
	rejected error // of the record: the first one counts
}

// scratchBytes bounds the scratch that a task keeps from record to record.
const scratchBytes = 256 << 10

// reuse makes raw, which was appended to the scratch, the scratch.
func (c *Context) reuse(raw []byte) {
	if c.buf = raw[:0]; cap(raw) > scratchBytes {
		c.buf = nil
	}
}

// Key is the record's key, or the timer's. The string shares memory with the record's batch: copy it to keep it for long.
func (c *Context) Key() string {
	k := c.rec().Key
	return unsafe.String(unsafe.SliceData(k), len(k))
}

// Timestamp is the record's time, the zero Time if it has none; of a timer, its deadline.
func (c *Context) Timestamp() time.Time {
	ms := c.rec().Timestamp
	if ms < 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Now is the wall clock of this step. It is the same during one call, and a test sets it.
func (c *Context) Now() time.Time {
	c.rec()
	return time.UnixMilli(c.rt.Now())
}

// Record is the raw record. In a timer's handler it has the key and the partition alone: no topic, and offset -1.
func (c *Context) Record() Record {
	r := c.rec()
	if r.Input < 0 {
		return Record{Partition: r.Partition, Offset: r.Offset, Key: r.Key}
	}
	return Record{Topic: c.app.inputs[r.Input].topic, Partition: r.Partition, Offset: r.Offset,
		Key: r.Key, Value: r.Value, headers: r.Headers}
}

// Record is a view of the handled record. Its slices are valid until the handler returns.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	headers   []topology.Header
}

// Header returns the last header of that key.
func (r Record) Header(key string) (value []byte, ok bool) {
	for i := len(r.headers) - 1; i >= 0; i-- {
		if r.headers[i].Key == key {
			return r.headers[i].Value, true
		}
	}
	return nil, false
}

func (c *Context) rec() *topology.Record {
	if c.record == nil {
		panic(misuse("processor: Context used after its handler returned"))
	}
	if c.goroutine != "" && c.goroutine != goroutine() {
		panic(misuse("processor: Context used by another goroutine than its handler's"))
	}
	return c.record
}

// misuse is what a wrong use of a Context panics with.
type misuse string

// goroutine names the one that calls it.
func goroutine() string {
	var stack [64]byte
	head, _, _ := bytes.Cut(stack[:runtime.Stack(stack[:], false)], []byte(" ["))
	return string(head)
}

// owns panics for a use outside a call and faults one with an edge of another App.
func (c *Context) owns(a *App) bool {
	c.rec()
	if c.app == a {
		return true
	}
	c.fail(&topology.Defect{Err: fmt.Errorf("application %q uses an edge that was declared on application %q", c.app.id, a.id)})
	return false
}

func (c *Context) fail(err error) {
	if c.fault == nil {
		c.fault = err
	}
}

func (c *Context) reject(r *topology.Rejection) {
	if c.rejected == nil {
		c.rejected = r
	}
}

// unencoded sorts an error of a codec's Append.
func (c *Context) unencoded(err error) {
	if errors.Is(err, codec.ErrUnavailable) {
		c.fail(err)
		return
	}
	c.reject(&topology.Rejection{Reason: ReasonEncode, Err: err})
}

// note sorts an error of the runtime into the record's or the engine's.
func (c *Context) note(err error) {
	if err == nil {
		return
	}
	if r, ok := err.(*topology.Rejection); ok {
		c.reject(r)
		return
	}
	c.fail(err)
}

// undecodable sorts an error of a state's codec: a value that it does not know now it will not know later.
func undecodable(state string, r *topology.Record, err error) error {
	if errors.Is(err, codec.ErrUnavailable) {
		return fmt.Errorf("decode state %q of key %q (partition %d, input offset %d): %w", state, r.Key, r.Partition, r.Offset, err)
	}
	return &topology.Defect{Err: fmt.Errorf("state %q of key %q (partition %d, input offset %d) does not decode: %w. Its codec or format has changed: use one that reads both, give the new state another name, or use another --app",
		state, r.Key, r.Partition, r.Offset, err)}
}
