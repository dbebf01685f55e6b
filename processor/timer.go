package processor

import (
	"time"

	"github.com/penstock/penstock/processor/internal/topology"
)

// Clock is what a timer's deadline is compared with.
type Clock int

const (
	// WallClock fires a timer at a time of day, also while no record comes. What the input held at that time is handled
	// first: after a stop of an hour the waiting records come before the timers that fell due meanwhile.
	WallClock = Clock(topology.WallClock)
	// EventTime fires a timer when the stream time of the key's partition reaches the deadline: the greatest timestamp
	// of any record in it so far, be it of another key, late or rejected. The timer fires before the record that moved
	// the time is handled. While no record comes, stream time stands still. It never goes back: a deadline that a late
	// record sets in the past is due at once.
	EventTime = Clock(topology.EventTime)
)

// Timer calls a handler for a key at a time. Each key has at most one deadline; it lives in the state, with a changelog
// topic of its own (APP-name-timers, a deadline is 8 bytes, big endian Unix milliseconds), so that it survives a crash,
// and firing is part of a transaction like a record: the handler's effects and the timer's removal commit together, once.
//
// Timers of a partition fire in the order of their deadlines, then of their keys. An index of them is kept in memory: some
// 30 bytes for each, and the key.
type Timer struct {
	app   *App
	index int // into app.states
}

type timer struct {
	topology.Timer
	handle func(*Context) error
}

// NewTimer declares a timer. Its handler acts on the key's state like a record's handler. When it returns an error or
// panics, its effects are undone and the timer is removed and becomes a dead letter, with its name, key and deadline.
func NewTimer(a *App, name string, clock Clock, handler func(*Context) error) Timer {
	t := Timer{app: a, index: len(a.states)}
	if !validName.MatchString(name) {
		a.fault("timer %q: use letters, digits, '.', '_' or '-'", name)
	}
	for _, other := range a.timers {
		if other.Name == name {
			a.fault("two timers are named %q", name)
		}
	}
	if clock != WallClock && clock != EventTime {
		a.fault("timer %q: clock %d is neither WallClock nor EventTime", name, clock)
	}
	a.states = append(a.states, topology.TimerState(name))
	a.timers = append(a.timers, timer{topology.Timer{Name: name, Clock: topology.Clock(clock), State: t.index}, handler})
	return t
}

// Set makes the timer fire for the current key at the given time, rounded up to a millisecond, in place of what was set
// before. A time in the past is due at once. In a timer's handler it is at least a millisecond after the deadline that
// fired, so that a timer which sets itself again comes to an end.
func (t Timer) Set(c *Context, at time.Time) {
	if !c.owns(t.app) {
		return
	}
	ms := at.Add(time.Millisecond - time.Nanosecond).UnixMilli()
	if c.record.Input < 0 {
		ms = max(ms, c.record.Timestamp+1)
	}
	raw := topology.AppendDeadline(c.buf[:0], ms)
	c.reuse(raw)
	c.note(c.rt.Set(t.index, raw))
}

// Cancel removes the current key's deadline. Without one it does nothing.
func (t Timer) Cancel(c *Context) {
	if !c.owns(t.app) {
		return
	}
	c.note(c.rt.Remove(t.index))
}
