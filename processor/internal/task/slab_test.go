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
