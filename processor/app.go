package processor

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/internal/topology"
)

// App is an application: its inputs, states and outputs, and the handlers between them. It is declared once, by one
// goroutine, and then run by engine.Run or processortest.New. Faults of the declaration are collected and reported
// together by [App.Validate], which both call.
type App struct {
	id      string
	inputs  []input
	states  []string // a timer's among them
	outputs []string
	tables  []string // topics
	timers  []timer
	rekeyed []rekeyed
	faults  []error
}

// input is one topic and the code for its records.
type input struct {
	topic  string
	handle func(c *Context, value []byte) error
	delete func(c *Context) error
}

// New declares an application. The id names its consumer group, its changelog and dead-letter topics and its
// transactional ids: two applications on one cluster need two ids.
func New(id string) *App {
	a := &App{id: id}
	if !validName.MatchString(id) {
		a.fault("application id %q: use 1 to 120 letters, digits, '.', '_' or '-'", id)
	}
	return a
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,120}$`)

// ID is the id given to [New].
func (a *App) ID() string { return a.id }

func (a *App) fault(format string, args ...any) {
	a.faults = append(a.faults, fmt.Errorf(format, args...))
}

// Handle registers the code for the records of a topic. The key must be present and the value must decode, else the
// record is rejected without a call. The handler's error rejects the record: a dead letter, all its effects undone; use
// [Reject] to name the reason. Several inputs of one App must have equal partition counts and share the key's state.
func Handle[T any](a *App, topic string, c codec.Codec[T], handler func(*Context, T) error) {
	in := a.input(topic)
	if in == nil {
		return
	}
	if in.handle != nil {
		a.fault("input %q has two handlers", topic)
		return
	}
	in.handle = func(ctx *Context, value []byte) error {
		v, err := c.Decode(value)
		if errors.Is(err, codec.ErrUnavailable) {
			ctx.fail(fmt.Errorf("decode topic %s partition %d offset %d: %w", topic, ctx.record.Partition, ctx.record.Offset, err))
			return nil
		}
		if err != nil {
			return &topology.Rejection{Reason: codec.Reason(err), Err: err}
		}
		return handler(ctx, v)
	}
}

// HandleDelete registers the code for a topic's records with a null value. Without it they are rejected as "tombstone".
func HandleDelete(a *App, topic string, handler func(*Context) error) {
	in := a.input(topic)
	if in == nil {
		return
	}
	if in.delete != nil {
		a.fault("input %q has two delete handlers", topic)
		return
	}
	in.delete = handler
}

func (a *App) input(topic string) *input {
	if !validName.MatchString(topic) {
		a.fault("input topic %q is not a topic name", topic)
		return nil
	}
	for i := range a.inputs {
		if a.inputs[i].topic == topic {
			return &a.inputs[i]
		}
	}
	a.inputs = append(a.inputs, input{topic: topic})
	return &a.inputs[len(a.inputs)-1]
}

// Validate returns every fault of the declaration, joined, or nil.
func (a *App) Validate() error {
	faults := a.faults
	if len(a.inputs) == 0 {
		faults = append(faults, errors.New("no input: call Handle"))
	}
	for _, in := range a.inputs {
		if in.handle == nil {
			faults = append(faults, fmt.Errorf("input %q has a delete handler only: call Handle", in.topic))
		}
	}
	for _, r := range a.rekeyed {
		for _, in := range a.inputs {
			if in.topic == r.topic {
				faults = append(faults, fmt.Errorf("input %q is handled by its own key and by another", in.topic))
			}
		}
	}
	for _, out := range a.outputs {
		for _, in := range a.inputs {
			if in.topic == out {
				faults = append(faults, fmt.Errorf("topic %q is an input and an output", out))
			}
		}
	}
	for _, table := range a.tables {
		if slices.Contains(a.outputs, table) || slices.ContainsFunc(a.inputs, func(in input) bool { return in.topic == table }) {
			faults = append(faults, fmt.Errorf("topic %q is a table and an input or an output: keep its values in a State", table))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("application %q: %w", a.id, errors.Join(faults...))
}

// Topology is the plain form of a, for the engine and the test driver; programs have no use for it.
func (a *App) Topology() (*topology.Topology, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	t := &topology.Topology{ID: a.id, States: a.states, Outputs: a.outputs, Tables: a.tables, Bind: a.bind, BindStrict: a.bindStrict}
	for _, tm := range a.timers {
		t.Timers = append(t.Timers, tm.Timer)
	}
	for _, in := range a.inputs {
		t.Inputs = append(t.Inputs, in.topic)
	}
	for _, r := range a.rekeyed {
		stage := r.topology(a.id)
		t.Before = append(t.Before, stage)
		t.Internal = append(t.Internal, stage.Internal...)
	}
	return t, nil
}
