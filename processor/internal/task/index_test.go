package task

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The index answers like a map, whatever is put and removed in which order.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		model := map[string]ref{}
		key := rapid.Map(rapid.IntRange(0, 60), strconv.Itoa)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if model[k] == 0 {
					model[k] = x.create([]byte(k))
					x.put(model[k])
				}
			},
			"remove": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if r := model[k]; r != 0 {
					x.remove(r)
					x.discard(r)
					delete(model, k)
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), x.inUse)
				for k, r := range model {
					require.Same(t, x.at(r), x.get([]byte(k)), "key %q", k)
				}
				if k := key.Draw(t, "other"); model[k] == 0 {
					require.Nil(t, x.get([]byte(k)), "key %q", k)
				}
			},
		})
	})
}

// Ahead only reads: of keys that are there, that are not, of none, of too many.
func TestAheadChangesNothing(t *testing.T) {
	topo, err := session.Window(session.Config{ID: "warm", Input: "in", Output: "out"}).Topology()
	require.NoError(t, err)
	tk := New(Config{Topology: topo, Store: statestore.NewMemory(), Arena: &Arena{}}, Position{Inputs: []int64{0}, Changelogs: []int64{0}})
	ahead := func(keys [][]byte) { tk.Ahead(len(keys), func(i int) []byte { return keys[i] }) }
	var keys [][]byte
	ahead(keys)
	for i := range 3 * AheadEvery {
		key := fmt.Appendf(nil, "session-%d", i)
		keys = append(keys, key, fmt.Appendf(nil, "absent-%d", i), nil)
		ahead(keys)
		require.NoError(t, tk.Step(&topology.Record{Offset: int64(i), Key: key, Value: fmt.Appendf(nil, `{"sessionId":%q,"winAmount":%d}`, key, i)}, 1))
	}
	ahead(keys)
	require.Len(t, tk.tables[0].touched, 3*AheadEvery)
	require.Equal(t, 6*AheadEvery+1, tk.CacheEntries(), "the keys that were named, and no other")
	tk.Prepare(nil)
	tk.Keep([]int64{-1}, 1)
	ahead(keys)
	require.Equal(t, 3*AheadEvery, tk.Dirty())
	require.Equal(t, 6*AheadEvery+1, tk.CacheEntries())
}
