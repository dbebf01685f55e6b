package telemetry

import (
	"context"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
)

const (
	// watchInterval is the time between two questions to the brokers, and with it the age of what lag says.
	watchInterval = 2 * time.Second
	// watchTimeout bounds one answer.
	watchTimeout = 5 * time.Second
)

// Watch asks for the offsets of the inputs until ctx is done: how far each partition is from its last stable offset,
// whether an open transaction holds that, and whether the brokers answer at all. An idle partition's fetches tell none
// of this.
func (m *Monitor) Watch(ctx context.Context, topics []string, bounds func(ctx context.Context, topic string) (map[int32]broker.Bounds, error)) {
	if m == nil {
		return
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		for _, t := range topics {
			ask, cancel := context.WithTimeout(ctx, watchTimeout)
			all, err := bounds(ask, t)
			cancel()
			if ctx.Err() != nil {
				return
			}
			m.answered(t, all, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (m *Monitor) answered(topic string, all map[int32]broker.Bounds, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.brokers.err = err; err != nil {
		return
	}
	now := m.now()
	m.brokers.answered = now
	for p, o := range m.partitions {
		b, ok := all[p]
		if !ok {
			continue
		}
		for i := range o.inputs {
			if o.inputs[i].topic == topic {
				o.inputs[i].see(b, now)
			}
		}
	}
}

func (in *input) see(b broker.Bounds, now time.Time) {
	switch {
	case b.LSO >= b.HW:
		in.heldFrom = time.Time{}
	case in.heldFrom.IsZero() || b.LSO != in.stable:
		in.heldFrom = now
	}
	in.stable, in.high = b.LSO, b.HW
	if in.position >= in.stable {
		in.caughtUp = now
	}
}
