package task

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
)

func TestAKeySetLacksNothing(t *testing.T) {
	s := new(keySet)
	const n = 200_000
	hash := func(i int) uint64 { return maphash.String(keySetSeed, fmt.Sprint(i)) }
	for i := range n {
		s.add(hash(i))
	}
	wrong := 0
	for i := range n {
		require.True(t, s.has(hash(i)))
		if s.has(hash(n + i)) {
			wrong++
		}
	}
	require.Less(t, float64(wrong)/n, 0.06)
	require.Less(t, s.bytes, 3*n)
	t.Logf("%.2f %% of other keys are taken for known ones, %.1f bits a key", 100*float64(wrong)/n, 8*float64(s.bytes)/n)
}

// A task that knows its keys answers as one that asks the store for each, whenever they are read: before, amid and after what it
// writes, with a cache of a few entries.
func TestKnownKeysChangeNoAnswer(t *testing.T) {
	var rt topology.Runtime
	topo := &topology.Topology{ID: "app", Inputs: []string{"in"}, States: []string{"sum"},
		Bind: func(r topology.Runtime) topology.Handler { rt = r; return nil }}
	rng := rand.New(rand.NewPCG(3, 4))
	saved := 0
	for round := range 200 {
		store, want := statestore.NewMemory(), map[string]string{}
		key := func() string { return fmt.Sprint("k", rng.IntN(40)) }
		var before statestore.Batch
		for range rng.IntN(20) {
			k := key()
			want[k] = "old"
			before.Set(append(StatePrefix(0, "sum"), k...), []byte("old"))
		}
		require.NoError(t, store.Apply(&before))
		tk := New(Config{Topology: topo, Store: store, Arena: &Arena{}, CacheBytes: 500}, Position{Inputs: []int64{0}, Changelogs: []int64{0}})
		var batches []statestore.Batch // frozen, and not yet applied
		var seqs []uint64
		for range 300 {
			switch rng.IntN(12) {
			case 0:
				var b statestore.Batch
				seqs = append(seqs, tk.Freeze(&b, Identity{}))
				batches = append(batches, b)
			case 1, 2:
				if len(batches) > 0 {
					require.NoError(t, store.Apply(&batches[0]))
					tk.Applied(seqs[0])
					batches, seqs = batches[1:], seqs[1:]
				}
			case 3:
				tk.BeginKnown()
				known, err := ReadKnown(t.Context(), store, topo, 0, 1<<20)
				require.NoError(t, err)
				tk.EndKnown(known)
			default:
				k := key()
				tk.record = &topology.Record{Key: []byte(k)}
				clear(tk.slots)
				tk.recSeq++
				reads := tk.stats.StoreReads
				cached := tk.tables[0].get([]byte(k)) != nil
				got, ok, err := rt.Get(0)
				require.NoError(t, err)
				if !cached && tk.stats.StoreReads == reads {
					saved++
				}
				w, there := want[k]
				require.Equal(t, there, ok, "round %d key %s", round, k)
				require.Equal(t, w, string(got))
				if rng.IntN(3) == 0 {
					rt.Remove(0)
					delete(want, k)
				} else {
					want[k] = fmt.Sprint(rng.IntN(1000))
					rt.Set(0, []byte(want[k]))
				}
				tk.Prepare(func() {})
				tk.Keep([]int64{-1}, 0)
			}
		}
	}
	require.Positive(t, saved)
	t.Logf("%d reads of the store saved", saved)
}

// Known keys that take too much memory are given up, not kept in part.
func TestKnownKeysAreBounded(t *testing.T) {
	topo := &topology.Topology{ID: "app", Inputs: []string{"in"}, States: []string{"a", "b"}, Bind: func(topology.Runtime) topology.Handler { return nil }}
	store := statestore.NewMemory()
	var b statestore.Batch
	for i := range 50_000 {
		b.Set(fmt.Appendf(StatePrefix(0, "b"), "%d", i), nil)
	}
	require.NoError(t, store.Apply(&b))
	known, err := ReadKnown(t.Context(), store, topo, 0, 20_000)
	require.NoError(t, err)
	require.Nil(t, known)
	tk := New(Config{Topology: topo, Store: store, Arena: &Arena{}}, Position{Inputs: []int64{0}, Changelogs: []int64{0, 0}})
	tk.BeginKnown()
	tk.EndKnown(known)
	require.False(t, tk.tables[1].absent([]byte("x")))
	require.False(t, tk.KnownFull())
}
