package task

import (
	"errors"
	"fmt"

	"github.com/penstock/penstock/processor/internal/topology"
)

// GapError says that a record is not at the offset that was expected (R4). A record above it may be right: markers,
// aborted batches and retention leave holes, and a read at the expected offset proves it.
type GapError struct {
	Topic     string
	Partition int32
	Want, Got int64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("topic %s partition %d: expected offset %d, got %d", e.Topic, e.Partition, e.Want, e.Got)
}

// Ahead reports whether the record lies above the expected offset, so that a read there can prove the gap.
func (e *GapError) Ahead() bool { return e.Got > e.Want }

// Step applies one record. Its effects stay in the overlay until Keep or Abort (R1). now is the wall clock in Unix
// milliseconds. The record's slices must stay valid until the transaction is over. A *GapError changed nothing; after
// ErrTimersFirst the record is to be stepped again; any
// other error is the engine's, and the task is of no more use.
func (t *Task) Step(r *topology.Record, now int64) error {
	if err := t.expect(r.Input, r.Offset); err != nil {
		return err
	}
	if t.streamEntry != nil {
		if err := t.advance(r, now); err != nil {
			return err
		}
	}
	t.begin(r, now)
	if err := t.settle(r, nil); err != nil {
		return err
	}
	t.next[r.Input] = r.Offset + 1
	t.stats.Records++
	return nil
}

// begin makes r the current record.
func (t *Task) begin(r *topology.Record, now int64) {
	t.now, t.record = now, r
	t.recSeq++
	clear(t.slots)
}

// settle calls the handler for the current record and lets its effects out, or undoes them, calls undone, which may be
// nil, and rejects the record.
func (t *Task) settle(r *topology.Record, undone func()) error {
	mark := len(t.effects)
	err := t.handler.Handle(r)
	if err != nil {
		t.rollback(mark)
		var rejection *topology.Rejection
		if !errors.As(err, &rejection) {
			return err
		}
		if undone != nil {
			undone()
		}
		if err := t.reject(r, rejection); err != nil {
			return err
		}
	} else {
		t.release(mark)
		for _, state := range t.removing {
			t.removes[state]++
		}
	}
	t.removing = t.removing[:0]
	t.undo, t.undoBuf = t.undo[:0], kept(t.undoBuf)
	return nil
}

func (t *Task) expect(input int, offset int64) error {
	t.stats.Checks++
	if offset == t.next[input] {
		return nil
	}
	return &GapError{t.cfg.Topology.Inputs[input], t.cfg.Partition, t.next[input], offset}
}

// Violated counts a gap that nothing proved (R4).
func (t *Task) Violated() { t.stats.Violations++ }

// Pass steps over a marker, or over a gap that a read has proven: offset is the next to expect.
func (t *Task) Pass(input int, offset int64) {
	if offset > t.next[input] {
		t.next[input] = offset
	}
}

// rollback undoes what the current record did.
func (t *Task) rollback(mark int) {
	for i := len(t.undo) - 1; i >= 0; i-- {
		u := &t.undo[i]
		u.entry.phase = u.phase
		u.table.set(u.entry, pending, t.undoBuf[u.from:u.to]) // where it lay before: nothing grows
	}
	clear(t.effects[mark:])
	t.effects = t.effects[:mark]
}

// latestKey names the emissions that replace each other.
type latestKey struct {
	output int
	key    string
}

// release lets the current record's emissions out, now that its handler succeeded. Those that a later one may replace
// are held back until the commit.
func (t *Task) release(mark int) {
	plain := mark
	for i := mark; i < len(t.effects); i++ {
		e := t.effects[i]
		latest := e.Kind == heldOutput
		if latest || len(t.held) > 0 {
			t.hold(&e, latest)
		}
		if !latest {
			t.effects[plain] = e
			plain++
		}
	}
	clear(t.effects[plain:])
	t.effects = t.effects[:plain]
}

// heldBytes is about what an emission that is held back takes beside its key and value.
const heldBytes = 200

// heldOutput marks an Output that a later emission may replace; it leaves the task as an Output.
const heldOutput Kind = 255

func (t *Task) hold(e *Effect, latest bool) {
	at, held := t.latest[latestKey{e.Index, string(e.Key)}]
	if !latest {
		if held { // superseded: an emission for the key follows
			t.held[at].Kind = heldOutput
			delete(t.latest, latestKey{e.Index, string(e.Key)})
		}
		return
	}
	e.Kind = Output
	if held {
		e.Key = t.held[at].Key
		t.held[at] = *e
		return
	}
	key := string(e.Key)
	if e.Key != nil {
		e.Key = bytesOf(key) // the record's would keep all that was fetched with it
	}
	t.cfg.Arena.Count(heldBytes + len(key))
	t.latest[latestKey{e.Index, key}] = len(t.held)
	t.held = append(t.held, *e)
}
