package processortest

import (
	"slices"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
)

// Committed returns the committed records of all outputs and of the dead-letter topic, oldest first.
func (d *Driver) Committed() []Record { return slices.Clone(d.committed) }

// Output returns the committed records of an output topic, oldest first.
func (d *Driver) Output(topic string) []Record {
	var list []Record
	for _, r := range d.committed {
		if r.Topic == topic {
			list = append(list, r)
		}
	}
	return list
}

// Take returns the committed records of an output topic, or of the dead-letter topic, that no Take returned before.
func (d *Driver) Take(topic string) []Record {
	list := d.Output(topic)
	from := d.taken[topic]
	d.taken[topic] = len(list)
	return list[from:]
}

// Values decodes the committed records of an output topic.
func Values[T any](d *Driver, topic string, c codec.Codec[T]) []T {
	d.t.Helper()
	var list []T
	for _, r := range d.Output(topic) {
		v, err := c.Decode(r.Value)
		if err != nil {
			d.t.Fatalf("decode output %s offset %d: %v", topic, r.Offset, err)
		}
		list = append(list, v)
	}
	return list
}

// DeadLetters returns the committed records of the dead-letter topics, oldest first: the application's own, and those of
// inputs that are given their key.
func (d *Driver) DeadLetters() []Record {
	topics := []string{d.topo.DeadLetterTopic()}
	for _, stage := range d.stages {
		topics = append(topics, stage.topo.DeadLetterTopic())
	}
	var list []Record
	for _, r := range d.committed {
		if slices.Contains(topics, r.Topic) {
			list = append(list, r)
		}
	}
	return list
}

// Changelog returns the committed records of a state's, or a timer's, changelog, oldest first; a nil Value is a tombstone.
func (d *Driver) Changelog(state string) []Record {
	d.t.Helper()
	i := d.state(state)
	var list []Record
	for offset, e := range d.changelogs[i] {
		list = append(list, Record{Topic: d.topo.ChangelogTopic(i), Offset: int64(offset), Key: e.Key, Value: e.Value})
	}
	return list
}

// State returns a state's committed values by key, as they are encoded.
func (d *Driver) State(state string) map[string]string {
	d.t.Helper()
	values := map[string]string{}
	for _, r := range d.Changelog(state) {
		if r.Value == nil {
			delete(values, string(r.Key))
		} else {
			values[string(r.Key)] = string(r.Value)
		}
	}
	return values
}

// StateValue decodes a key's committed value of a state.
func StateValue[T any](d *Driver, state, key string, c codec.Codec[T]) (v T, ok bool) {
	d.t.Helper()
	raw, ok := d.State(state)[key]
	if !ok {
		return v, false
	}
	v, err := c.Decode([]byte(raw))
	if err != nil {
		d.t.Fatalf("decode state %s of key %q: %v", state, key, err)
	}
	return v, true
}

// Read returns what the next record's handler would read of a state, for each key of its changelog: the values of the
// open transaction, the cache and the store.
func (d *Driver) Read(state string) map[string]string {
	d.t.Helper()
	i := d.state(state)
	values := map[string]string{}
	for _, r := range d.Changelog(state) {
		v, ok, err := d.task.Peek(i, r.Key)
		if err != nil {
			d.t.Fatal(err)
		}
		if ok {
			values[string(r.Key)] = string(v)
		}
	}
	return values
}

// Timers returns what a timer is set to, by key, as the next handler would see it.
func (d *Driver) Timers(timer string) map[string]time.Time {
	d.t.Helper()
	for i, tm := range d.topo.Timers {
		if tm.Name != timer {
			continue
		}
		set := map[string]time.Time{}
		if err := d.task.EachTimer(i, func(key string, at int64) { set[key] = time.UnixMilli(at).UTC() }); err != nil {
			d.t.Fatal(err)
		}
		return set
	}
	d.t.Fatalf("application %q has no timer %q", d.topo.ID, timer)
	return nil
}

func (d *Driver) state(name string) int {
	d.t.Helper()
	for _, name := range []string{name, topology.TimerState(name)} {
		if i := slices.Index(d.topo.States, name); i >= 0 {
			return i
		}
	}
	d.t.Fatalf("application %q has no state %q", d.topo.ID, name)
	return -1
}

// HeaderReason is the header of a dead letter that holds the reason.
const HeaderReason = task.HeaderReason

// HeaderTimer is the header of a timer's dead letter that holds its name.
const HeaderTimer = task.HeaderTimer
