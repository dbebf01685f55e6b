package task

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// F28: what a task holds before its owner may commit is bounded in bytes, however large the values are.

const largeValue = 200_000 // bytes

// largeTimers is an application whose timers write large values.
func largeTimers(t *testing.T, clock processor.Clock) *topology.Topology {
	t.Helper()
	app := processor.New("app")
	text := processor.NewState(app, "text", codec.Text())
	alarm := processor.NewTimer(app, "alarm", clock, func(c *processor.Context) error {
		text.Set(c, strings.Repeat("x", largeValue))
		return nil
	})
	processor.Handle(app, "in", codec.Int64(), func(c *processor.Context, _ int64) error {
		alarm.Set(c, c.Timestamp().Add(1))
		return nil
	})
	topo, err := app.Topology()
	require.NoError(t, err)
	return topo
}

func TestABurstOfTimersIsBoundedInBytes(t *testing.T) {
	const timers = 200
	for name, clock := range map[string]processor.Clock{"before a record": processor.EventTime, "at their time": processor.WallClock} {
		t.Run(name, func(t *testing.T) {
			s := newSide(largeTimers(t, clock), 1<<30)
			raw, err := codec.Int64().Append(nil, 1)
			require.NoError(t, err)
			offset := int64(0)
			step := func(at int64) error {
				return s.Step(&topology.Record{Offset: offset, Key: fmt.Append(nil, "k", offset), Value: raw, Timestamp: at}, 1)
			}
			for range timers {
				require.NoError(t, step(1))
				offset++
			}
			s.commit(1)
			bursts := 0
			for more := true; more; bursts++ {
				held := s.holds()
				if clock == processor.EventTime {
					err := step(1000)
					more = err != nil
					if more {
						require.ErrorIs(t, err, ErrTimersFirst)
					}
				} else {
					_, more, err = s.Tick(1000, 1000, timers)
					require.NoError(t, err)
				}
				require.Less(t, s.holds()-held, burstBytes+2*largeValue)
				s.commit(1)
			}
			require.EqualValues(t, timers, s.TakeStats().Timers)
			require.Greater(t, bursts, timers*largeValue/(burstBytes+2*largeValue))
		})
	}
}

func TestReadingAheadIsBoundedInBytes(t *testing.T) {
	const keys, budget = 500, 4 << 20
	s := newSide(largeTimers(t, processor.WallClock), budget)
	var b statestore.Batch
	var names [][]byte
	for i := range keys {
		names = append(names, fmt.Append(nil, "k", i))
		b.Set(append(StatePrefix(0, "text"), names[i]...), make([]byte, largeValue))
	}
	require.NoError(t, s.store.Apply(&b))
	at := 0
	for i, tb := range s.tables {
		if string(tb.prefix) == string(StatePrefix(0, "text")) {
			at = i
		}
	}
	s.recSeq, s.tables[at].asked, s.tables[at].missed = 100, 100, 100 // as if the last records had asked the store
	s.Ahead(keys, func(i int) []byte { return names[i] })
	require.NotZero(t, s.store.read, "nothing was read")
	require.Less(t, s.CacheBytes(), budget)
}

func TestWhatIsHeldBackIsCounted(t *testing.T) {
	const keys = 1000
	app := processor.New("app")
	out := processor.NewOutput(app, "out", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		out.EmitLatest(c, v)
		return nil
	})
	topo, err := app.Topology()
	require.NoError(t, err)
	s := newSide(topo, 1<<20)
	for i := range keys {
		require.NoError(t, s.Step(&topology.Record{Offset: int64(i), Key: fmt.Append(nil, "key-", i), Value: []byte("v")}, 1))
	}
	require.Greater(t, s.cfg.Arena.Bytes(), keys*heldBytes)
	s.cfg.Arena.Reset()
	require.Zero(t, s.cfg.Arena.Bytes())
}
