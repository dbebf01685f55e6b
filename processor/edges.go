package processor

import (
	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/internal/topology"
)

// State is a value of type T per key, kept in the store and in a changelog topic. Its methods act on the key of the
// record that is handled. A State belongs to the App it was declared on.
type State[T any] struct {
	app   *App
	index int
	codec codec.Codec[T]
}

// NewState declares a state. Its changelog topic is APP-name-changelog.
func NewState[T any](a *App, name string, c codec.Codec[T]) State[T] {
	s := State[T]{app: a, index: len(a.states), codec: c}
	if !validName.MatchString(name) {
		a.fault("state %q: use letters, digits, '.', '_' or '-'", name)
	}
	for _, other := range a.states {
		if other == name {
			a.fault("two states are named %q", name)
		}
	}
	a.states = append(a.states, name)
	return s
}

// Get returns the key's value and whether there is one; the zero value if not.
func (s State[T]) Get(c *Context) (T, bool) {
	var zero T
	if !c.owns(s.app) {
		return zero, false
	}
	raw, ok, err := c.rt.Get(s.index)
	if err != nil {
		c.fail(err)
		return zero, false
	}
	if !ok {
		return zero, false
	}
	v, err := s.codec.Decode(raw)
	if err != nil {
		c.fail(undecodable(s.app.states[s.index], c.record, err))
		return zero, false
	}
	return v, true
}

// Exists reports whether the key has a value.
func (s State[T]) Exists(c *Context) bool {
	if !c.owns(s.app) {
		return false
	}
	_, ok, err := c.rt.Get(s.index)
	if err != nil {
		c.fail(err)
	}
	return ok
}

// Set gives the key a value. One that cannot be encoded or is too large for the changelog rejects the record.
func (s State[T]) Set(c *Context, v T) {
	if !c.owns(s.app) {
		return
	}
	raw, err := s.codec.Append(c.buf[:0], v)
	c.reuse(raw)
	if err != nil {
		c.unencoded(err)
		return
	}
	c.note(c.rt.Set(s.index, raw))
}

// Remove deletes the key's value: a tombstone in the changelog. Without a value it does nothing.
func (s State[T]) Remove(c *Context) {
	if !c.owns(s.app) {
		return
	}
	c.note(c.rt.Remove(s.index))
}

// Output is a topic that receives values of type T.
type Output[T any] struct {
	app   *App
	index int
	codec codec.Codec[T]
}

// NewOutput declares an output.
func NewOutput[T any](a *App, topic string, c codec.Codec[T]) Output[T] {
	o := Output[T]{app: a, index: len(a.outputs), codec: c}
	if !validName.MatchString(topic) {
		a.fault("output topic %q is not a topic name", topic)
	}
	for _, other := range a.outputs {
		if other == topic {
			a.fault("two outputs go to topic %q", topic)
		}
	}
	a.outputs = append(a.outputs, topic)
	return o
}

// EmitOption changes one emitted record.
type EmitOption struct {
	header topology.Header
	key    []byte
	keyed  bool
}

// Header adds a header.
func Header(key, value string) EmitOption {
	return EmitOption{header: topology.Header{Key: key, Value: []byte(value)}}
}

// Key sets the record's key; without it, the record has the key of the one that is handled.
func Key(key string) EmitOption { return EmitOption{key: []byte(key), keyed: true} }

// Emit sends v to the output when the transaction commits. The record's timestamp is that of the record being handled.
func (o Output[T]) Emit(c *Context, v T, options ...EmitOption) { o.emit(c, v, false, options) }

// EmitLatest is [Output.Emit] for a value that a later one for the same key replaces: of those in one transaction only
// the last is sent, and none if an Emit for the key follows.
func (o Output[T]) EmitLatest(c *Context, v T, options ...EmitOption) { o.emit(c, v, true, options) }

func (o Output[T]) emit(c *Context, v T, latest bool, options []EmitOption) {
	if !c.owns(o.app) {
		return
	}
	raw, err := o.codec.Append(c.buf[:0], v)
	c.reuse(raw)
	if err != nil {
		c.unencoded(err)
		return
	}
	e := topology.Emission{Output: o.index, Key: c.record.Key, Value: raw, Latest: latest}
	for _, opt := range options {
		if opt.keyed {
			e.Key = opt.key
			continue
		}
		e.Headers = append(e.Headers, opt.header)
	}
	c.note(c.rt.Emit(e))
}
