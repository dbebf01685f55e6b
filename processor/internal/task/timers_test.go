package task

import (
	"fmt"
	"testing"

	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
)

// setter sets the key's timer to the record's timestamp, or cancels it if there is none.
type setter struct {
	rt    topology.Runtime
	fired *[]string
}

func (s setter) Handle(r *topology.Record) error {
	switch {
	case r.Input < 0:
		*s.fired = append(*s.fired, fmt.Sprintf("%s@%d", r.Key, r.Timestamp))
		return nil
	case r.Timestamp < 0:
		return s.rt.Remove(0)
	}
	return s.rt.Set(0, topology.AppendDeadline(nil, r.Timestamp))
}

type harness struct {
	t     *testing.T
	topo  *topology.Topology
	store *statestore.Memory
	task  *Task
	arena Arena
	fired []string
	log   int64 // end of the changelog
}

func newHarness(t *testing.T) *harness {
	h := &harness{t: t, store: statestore.NewMemory()}
	h.topo = &topology.Topology{ID: "app", Inputs: []string{"in"}, States: []string{topology.TimerState("alarm")},
		Timers: []topology.Timer{{Name: "alarm"}}, Bind: func(rt topology.Runtime) topology.Handler { return setter{rt, &h.fired} }}
	h.task = New(Config{Topology: h.topo, Store: h.store, Arena: &h.arena}, Position{Inputs: []int64{0}, Changelogs: []int64{0}})
	return h
}

func (h *harness) set(key string, at int64) {
	require.NoError(h.t, h.task.Step(&topology.Record{Key: []byte(key), Value: []byte{}, Timestamp: at, Offset: h.task.Next(0)}, 0))
}

func (h *harness) commit() {
	h.task.Prepare(nil)
	h.log += int64(len(h.task.Effects()))
	h.task.ClearEffects()
	h.task.Keep([]int64{h.log}, 0)
}

func (h *harness) indexed() int { return h.task.timers[0].table.due.n }

// What is gone leaves nothing in the index: neither a cancelled timer nor one of an aborted transaction.
func TestTheIndexHoldsWhatIsSet(t *testing.T) {
	h := newHarness(t)
	for i := range 1000 {
		key := fmt.Sprint("k", i)
		h.set(key, 100)
		if i%2 == 0 {
			h.set(key, -1)
		}
	}
	h.commit()
	require.Equal(t, 500, h.indexed())
	for i := range 1000 {
		h.set(fmt.Sprint("k", i), -1)
		h.set(fmt.Sprint("new", i), 50)
	}
	h.task.Abort()
	require.Equal(t, 500, h.indexed())
	for i := range 1000 {
		h.set(fmt.Sprint("k", i), -1)
	}
	h.commit()
	require.Zero(t, h.indexed())
}

// A deadline that moves away, as that of a session's time-out at each record, leaves the index alone until it is due.
func TestADeadlineThatMovesAwayIsNotMovedInTheIndex(t *testing.T) {
	h := newHarness(t)
	h.set("k", 100)
	h.commit()
	for at := range int64(50) {
		h.set("k", 100+at)
	}
	h.commit()
	next, _ := h.task.NextTimer()
	require.EqualValues(t, 100, next)
	due, err := h.task.Due(148)
	require.NoError(t, err)
	require.False(t, due)
	next, _ = h.task.NextTimer()
	require.EqualValues(t, 149, next)
	n, _, err := h.task.Tick(149, 149, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, []string{"k@149"}, h.fired)
	require.True(t, h.task.Moved())
	h.commit()
	require.False(t, h.task.Moved())
}

// A changelog that something else wrote to is named, not guessed at.
func TestAValueThatIsNoDeadlineIsAnError(t *testing.T) {
	h := newHarness(t)
	var b statestore.Batch
	b.Set(append(StatePrefix(0, h.topo.States[0]), "k"...), []byte("12"))
	require.NoError(t, h.store.Apply(&b))
	_, err := ReadTimers(h.store, h.topo, 0)
	require.ErrorIs(t, err, ErrDeadline)
	require.ErrorContains(t, err, `timer "alarm", partition 0, key "k"`)
}

// A handler may keep a timer's key, as it may keep a record's: the entry that held it is another key's meanwhile.
func TestATimersKeyOutlivesItsEntry(t *testing.T) {
	h := newHarness(t)
	h.task.SetCacheBytes(1)
	h.set("k", 100)
	h.commit()
	n, _, err := h.task.Tick(100, 100, 10)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	key := h.task.firing.Key
	h.commit()
	var b statestore.Batch
	seq := h.task.Freeze(&b, Identity{})
	require.NoError(t, h.store.Apply(&b))
	h.task.Applied(seq)
	require.Zero(t, h.task.CacheEntries())
	h.set("another", 200)
	require.Equal(t, "k", string(key))
}
