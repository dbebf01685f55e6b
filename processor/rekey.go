package processor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/internal/topology"
)

// rekeyed is an input that goes through a topic of the application's own.
type rekeyed struct {
	topic string
	key   func(value []byte) ([]byte, error)
}

// HandleBy is [Handle] for a topic whose records have no key, or not the one that the state is kept by: key says which.
// They go through the topic APP-topic-repartition, with that key, and keep their value, headers and timestamp. Both ways
// are exactly-once. Records of one key that come from one partition keep their order; there is none between partitions.
//
// The topic is made by the engine and belongs to the application. Its records stay until they are processed
// and, by their own time, a week old. A record whose value does not decode, or has no key, is a dead
// letter of the application APP-topic-repartition.
func HandleBy[T any](a *App, topic string, c codec.Codec[T], key func(T) []byte, handler func(*Context, T) error) {
	for _, r := range a.rekeyed {
		if r.topic == topic {
			a.fault("input %q has two handlers", topic)
			return
		}
	}
	a.rekeyed = append(a.rekeyed, rekeyed{topic, func(value []byte) ([]byte, error) {
		v, err := c.Decode(value)
		if errors.Is(err, codec.ErrUnavailable) {
			return nil, err
		}
		if err != nil {
			return nil, &topology.Rejection{Reason: codec.Reason(err), Err: err}
		}
		k := key(v)
		if len(k) == 0 {
			return nil, &topology.Rejection{Reason: ReasonEmptyKey, Err: errors.New("the key is empty")}
		}
		return append([]byte(nil), k...), nil
	}})
	Handle(a, topology.RepartitionTopic(a.id, topic), c, handler)
}

// topology is that of the application which gives the records their key: it has no state.
func (r rekeyed) topology(app string) *topology.Topology {
	to := topology.RepartitionTopic(app, r.topic)
	bind := func(rt topology.Runtime) topology.Handler { return &rekeyer{r, rt} }
	return &topology.Topology{ID: to, Inputs: []string{r.topic}, Outputs: []string{to}, Internal: []string{to}, Bind: bind, BindStrict: bind}
}

// rekeyer is a rekeyed input acting on one runtime.
type rekeyer struct {
	of rekeyed
	rt topology.Runtime
}

// Handle implements topology.Handler.
func (h *rekeyer) Handle(r *topology.Record) error {
	if r.Value == nil {
		return &topology.Rejection{Reason: ReasonTombstone, Err: errors.New("the value is null")}
	}
	key, err := h.keyOf(r.Value)
	if err != nil {
		return err
	}
	return h.rt.Emit(topology.Emission{Key: key, Value: r.Value, Headers: slices.Clip(r.Headers)})
}

func (h *rekeyer) keyOf(value []byte) (key []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &topology.Rejection{Reason: ReasonPanic, Err: fmt.Errorf("%v", p)}
		}
	}()
	return h.of.key(value)
}
