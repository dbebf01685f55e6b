package task

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/processor/internal/offheap"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// An entry that is used again has nothing of the one before it, and no other entry's place.
func TestEntriesAreUsedAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s slab
		type content struct{ key, committed, pending string }
		model := map[ref]content{}
		text := rapid.Map(rapid.SampledFrom([]int{0, 1, valueRoom, valueRoom + 1, keyRoom, keyRoom + 1, 300}), func(n int) string { return strings.Repeat("x", n) })
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				c := content{text.Draw(t, "key"), text.Draw(t, "committed"), text.Draw(t, "pending")}
				r := s.create([]byte(c.key))
				require.NotContains(t, model, r)
				e := s.at(r)
				require.Empty(t, s.value(e, committed))
				require.Empty(t, s.value(e, pending))
				require.False(t, e.dirty || e.stored || e.visited || e.exists || e.touched || e.changes)
				require.Zero(t, e.frozen)
				s.set(e, committed, []byte(c.committed))
				s.set(e, pending, []byte(c.pending))
				e.dirty, e.stored, e.visited, e.exists, e.touched, e.frozen = true, true, true, true, true, 7
				model[r] = c
			},
			"discard": func(t *rapid.T) {
				for r := range model {
					s.discard(r)
					delete(model, r)
					return
				}
			},
			"": func(t *rapid.T) {
				for r, c := range model {
					e := s.at(r)
					require.Equal(t, c, content{s.key(e), string(s.value(e, committed)), string(s.value(e, pending))})
				}
				require.LessOrEqual(t, len(s.longs.all)-len(s.longs.unused), len(model)+1)
			},
		})
	})
}

// The memory of a table that is garbage is used by the next ones.
func TestTheMemoryOfATableIsGivenBack(t *testing.T) {
	held := offheap.Held()
	for range 50 {
		tb := newTable(0, "state")
		for i := range 2 * int(chunkEntries) {
			require.NoError(t, tb.admit(tb.create(fmt.Append(nil, i)), false))
		}
		require.GreaterOrEqual(t, offheap.Held(), 3, "while the table lives")
		runtime.KeepAlive(tb)
	}
	require.Eventually(t, func() bool {
		runtime.GC()
		return offheap.Held() <= held
	}, 10*time.Second, 10*time.Millisecond)
}

// What one large transaction took is given back once its entries are evicted, and the others are what they were.
func TestASlabShrinks(t *testing.T) {
	h := newHarness(t)
	const many, few = 40_000, 100
	h.task.SetCacheBytes(few * entryBytes)
	long := strings.Repeat("k", keyRoom+1)
	key := func(i int) string { return fmt.Sprint("k", i, long[:i%2*len(long)]) }
	for i := range many {
		h.set(key(i), int64(i+1))
	}
	h.commit()
	held := offheap.Held()
	var b statestore.Batch
	seq := h.task.Freeze(&b, Identity{})
	for i := range few {
		h.set(key(i), int64(2*i+1)) // of an open transaction
	}
	require.NoError(t, h.store.Apply(&b))
	h.task.Applied(seq)
	require.LessOrEqual(t, h.task.CacheEntries(), few)
	require.LessOrEqual(t, offheap.Held(), held-many/int(chunkEntries)+1)
	require.Less(t, len(h.task.tables[0].slots), 4*few)
	h.commit()
	for i := range many {
		value, ok, err := h.task.Peek(0, []byte(key(i)))
		require.NoError(t, err)
		require.True(t, ok)
		want := int64(i + 1)
		if i < few {
			want = int64(2*i + 1)
		}
		require.Equal(t, string(topology.AppendDeadline(nil, want)), string(value))
	}
}

func init() { compactLeast = 2 } // so that the histories of all tests meet it

// Stream time is kept by an entry that lies elsewhere: it stays where it is when the others move.
func TestStreamTimeOutlivesASlab(t *testing.T) {
	h := &harness{t: t, store: statestore.NewMemory()}
	h.topo = &topology.Topology{ID: "app", Inputs: []string{"in"}, States: []string{topology.TimerState("alarm")},
		Timers: []topology.Timer{{Name: "alarm", Clock: topology.EventTime}}, Bind: func(topology.Runtime) topology.Handler { return peeker{h} }}
	h.task = New(Config{Topology: h.topo, Store: h.store, Arena: &h.arena, CacheBytes: 1}, Position{Inputs: []int64{0}, Changelogs: []int64{0}})
	look := func(from int) {
		for i := range 1000 {
			h.set(fmt.Sprint("k", i), int64(from+i))
		}
	}
	look(0)
	h.commit() // stream time is dirty
	require.Less(t, h.task.tables[0].used, ref(10))
	var b statestore.Batch
	first := h.task.Freeze(&b, Identity{})
	look(2001)
	h.task.Prepare(nil) // and in a transaction
	used := h.task.tables[0].used
	h.task.Applied(first)
	require.Less(t, h.task.tables[0].used, used/4)
	h.task.Keep([]int64{0}, 0)
	second := h.task.Freeze(&b, Identity{})
	require.NoError(t, h.store.Apply(&b))
	h.task.Applied(second)
	timers, err := ReadTimers(h.store, h.topo, 0)
	require.NoError(t, err)
	at, ok := topology.Deadline(timers.stream)
	require.True(t, ok)
	require.EqualValues(t, 3000, at)
}

// peeker looks each key's timer up.
type peeker struct{ h *harness }

func (p peeker) Handle(*topology.Record) error {
	_, _, err := p.h.task.Get(0)
	return err
}
