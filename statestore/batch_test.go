package statestore_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func ops(b *statestore.Batch) (all []string) {
	for o := range b.All() {
		all = append(all, fmt.Sprintf("%d %q %q", o.Kind, o.Key, o.Value))
	}
	return all
}

func TestSortKeepsTheOrderOfOneKeysOperations(t *testing.T) {
	key := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 'a', 0xff}), 0, 12)
	rapid.Check(t, func(t *rapid.T) {
		var b statestore.Batch
		type added struct {
			key  []byte
			text string
		}
		var want []added
		prefixes := rapid.SampledFrom([][]string{{""}, {"partition"}, {"partition1 state", "partition2 state", "partition1", ""}}).Draw(t, "prefixes")
		pool := rapid.SliceOfN(key, 1, 60).Draw(t, "keys")
		random := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		for i := range rapid.SampledFrom([]int{0, 1, 2, 40, 300, 1000}).Draw(t, "ops") {
			k := append([]byte(prefixes[random.IntN(len(prefixes))]), pool[random.IntN(len(pool))]...)
			if random.IntN(2) == 0 {
				b.Set(k, fmt.Append(nil, i))
				want = append(want, added{k, fmt.Sprintf("0 %q %q", k, fmt.Sprint(i))})
			} else {
				b.Delete(k)
				want = append(want, added{k, fmt.Sprintf("1 %q %q", k, "")})
			}
		}
		b.Sort()
		slices.SortStableFunc(want, func(x, y added) int { return bytes.Compare(x.key, y.key) })
		var texts []string
		for _, w := range want {
			texts = append(texts, w.text)
		}
		require.Equal(t, texts, ops(&b))
	})
}

func TestSortLeavesABatchWithARangeAlone(t *testing.T) {
	var b statestore.Batch
	b.Set([]byte("b"), []byte("1"))
	b.DeleteRange([]byte("a"), []byte("z"))
	b.Set([]byte("a"), nil)
	b.Sort()
	require.Equal(t, []string{`0 "b" "1"`, `2 "a" "z"`, `0 "a" ""`}, ops(&b))
	b.Reset()
	require.Zero(t, b.Len()+b.Bytes())
	b.Set([]byte("b"), nil)
	b.Set([]byte("a"), nil)
	b.Sort()
	require.Equal(t, []string{`0 "a" ""`, `0 "b" ""`}, ops(&b))
}

func TestABatchUsedAgainAllocatesNothingForItsOperations(t *testing.T) {
	var b statestore.Batch
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "session%d", rand.IntN(1000))
	}
	fill := func() {
		b.Reset()
		for _, k := range keys {
			b.Set(k, k)
		}
		b.Sort()
	}
	fill()
	require.LessOrEqual(t, testing.AllocsPerRun(10, fill), 3.0, "but for the memory of a Sort, which the collector may have taken")
}

// Keys are those of one task, and those of two, as a freeze has them: each with its position.
func BenchmarkSort(b *testing.B) {
	for _, tasks := range []int{1, 2} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) { sortTasks(b, tasks) })
	}
}

func sortTasks(b *testing.B, tasks int) {
	keys := make([][]byte, 64<<10)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "\x00\x00\x00%csessions\x00session-%016x", byte(i*tasks/len(keys)), rand.Uint64())
	}
	if tasks > 1 {
		for i := range tasks {
			keys[i*len(keys)/tasks] = fmt.Appendf(nil, "\x00\x00\x00%c\x00position", byte(i))
		}
	}
	var batch statestore.Batch
	for b.Loop() {
		batch.Reset()
		for _, k := range keys {
			batch.Set(k, k[:12])
		}
		batch.Sort()
	}
	b.ReportMetric(float64(b.N*len(keys))/b.Elapsed().Seconds(), "ops/s")
}
