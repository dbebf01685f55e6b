package task

import (
	"fmt"
	"slices"

	"github.com/penstock/penstock/processor/internal/topology"
)

// The methods of this file are topology.Runtime: what a handler's edges act on.

// Get implements topology.Runtime.
func (t *Task) Get(state int) ([]byte, bool, error) {
	e, err := t.slot(state)
	if err != nil {
		return nil, false, err
	}
	switch e.phase {
	case phaseSet:
		return t.tables[state].value(e, pending), true, nil
	case phaseRemoved:
		return nil, false, nil
	}
	return t.tables[state].value(e, committed), e.exists, nil
}

// Peek returns a state's value for a key as the next record would see it.
func (t *Task) Peek(state int, key []byte) ([]byte, bool, error) {
	t.record = &topology.Record{Key: key}
	clear(t.slots)
	defer clear(t.slots)
	return t.Get(state)
}

// Lookup implements topology.Runtime.
func (t *Task) Lookup(table int, key []byte) ([]byte, bool, error) {
	return t.cfg.Tables.Lookup(table, key)
}

// Set implements topology.Runtime.
func (t *Task) Set(state int, value []byte) error {
	limit := t.cfg.Limits.Changelogs
	if len(limit) > 0 && !limit[state].fits(len(t.record.Key), len(value), nil) {
		return tooLarge(t.cfg.Topology.ChangelogTopic(state), len(t.record.Key), len(value), limit[state])
	}
	e, err := t.slot(state)
	if err != nil {
		return err
	}
	t.touch(state, e)
	tb := t.tables[state]
	e.phase = phaseSet
	tb.bytes += tb.set(e, pending, value)
	if tb.due != nil {
		tb.reindex(e, min(e.indexed, tb.deadline(e)))
	}
	return nil
}

// Remove implements topology.Runtime.
func (t *Task) Remove(state int) error {
	e, err := t.slot(state)
	if err != nil {
		return err
	}
	t.touch(state, e)
	e.phase = phaseRemoved
	t.removing = append(t.removing, state)
	return nil
}

// Emit implements topology.Runtime.
func (t *Task) Emit(e topology.Emission) error {
	var limit TopicLimit
	if len(t.cfg.Limits.Outputs) > 0 {
		limit = t.cfg.Limits.Outputs[e.Output]
	}
	key := e.Key
	ts := t.record.Timestamp
	if t.record.Trace != nil {
		e.Headers = replaced(e.Headers, t.record.Trace)
	}
	clamped := limit.clamp(ts, t.now)
	if clamped != ts && ts >= 0 {
		e.Headers = append(e.Headers, topology.Header{Key: HeaderTimestamp, Value: fmt.Append(nil, ts)})
	}
	if !limit.fits(len(key), len(e.Value), e.Headers) {
		return tooLarge(t.cfg.Topology.Outputs[e.Output], len(key), len(e.Value), limit)
	}
	kind := Output
	if e.Latest {
		kind = heldOutput
	}
	t.effects = append(t.effects, Effect{Kind: kind, Index: e.Output, Key: key, Value: t.copyValue(e.Value, e.Latest), Headers: e.Headers, Timestamp: clamped})
	return nil
}

// copyValue is not nil where v has no bytes: that is no null.
func (t *Task) copyValue(v []byte, held bool) []byte {
	if len(v) == 0 {
		return []byte{}
	}
	if held {
		return t.cfg.Arena.Copy(v)
	}
	from := len(t.values)
	t.values = append(t.values, v...)
	return t.values[from:len(t.values):len(t.values)]
}

// replaced are headers with others in place of those of their names.
func replaced(headers, by []topology.Header) []topology.Header {
	all := slices.DeleteFunc(slices.Clone(headers), func(h topology.Header) bool {
		return slices.ContainsFunc(by, func(o topology.Header) bool { return o.Key == h.Key })
	})
	return append(all, by...)
}

// Now implements topology.Runtime.
func (t *Task) Now() int64 { return t.now }

// recordOverhead bounds what a batch of one record adds to its key, value and headers, in bytes: the batch header of
// 61 and the record's own lengths.
const recordOverhead = 96

func (l TopicLimit) fits(key, value int, headers []topology.Header) bool {
	if l.RecordBytes == 0 {
		return true
	}
	n := recordOverhead + key + value
	for _, h := range headers {
		n += 10 + len(h.Key) + len(h.Value)
	}
	return n <= l.RecordBytes
}

// clamp returns a timestamp the topic takes: the record's where it can be, else the wall clock.
func (l TopicLimit) clamp(ts, now int64) int64 {
	if ts < 0 || l.TimeAfterMax > 0 && ts > now+l.TimeAfterMax || l.TimeBeforeMax > 0 && ts < now-l.TimeBeforeMax {
		return now
	}
	return ts
}

func tooLarge(topic string, key, value int, l TopicLimit) error {
	return &topology.Rejection{Reason: "too-large",
		Err: fmt.Errorf("a record of %d key and %d value bytes for topic %s, which takes %d", key, value, topic, l.RecordBytes)}
}
