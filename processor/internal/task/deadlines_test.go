package task

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestDeadlinesAreASortedSet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		pick := rapid.Custom(func(rt *rapid.T) deadline {
			return deadline{int64(rapid.IntRange(0, 300).Draw(rt, "at")), string(rune('a' + rapid.IntRange(0, 4).Draw(rt, "key")))}
		})
		want := map[deadline]bool{}
		var start []deadline
		for range rapid.IntRange(0, 600).Draw(rt, "start") {
			if x := pick.Draw(rt, "x"); !want[x] {
				want[x] = true
				start = append(start, x)
			}
		}
		d := newDeadlines(start)
		for range rapid.IntRange(0, 1500).Draw(rt, "steps") {
			x := pick.Draw(rt, "x")
			switch {
			case want[x] && rapid.Bool().Draw(rt, "remove"):
				d.remove(x)
				delete(want, x)
			case !want[x]:
				d.remove(x) // changes nothing
				d.add(x)
				want[x] = true
			}
		}
		sorted := make([]deadline, 0, len(want))
		for x := range want {
			sorted = append(sorted, x)
		}
		slices.SortFunc(sorted, compareDeadlines)
		got := make([]deadline, 0, d.n)
		d.all(func(x deadline) { got = append(got, x) })
		require.Equal(rt, sorted, got)
		require.Equal(rt, len(sorted), d.n)
		first, ok := d.first()
		require.Equal(rt, len(sorted) > 0, ok)
		if ok {
			require.Equal(rt, sorted[0], first)
		}
		for _, c := range d.chunks {
			require.NotEmpty(rt, c)
			require.LessOrEqual(rt, cap(c), chunkDeadlines)
		}
	})
}

// many makes n deadlines, in order or not, within half an hour.
func many(n int, ordered bool) []deadline {
	rng := rand.New(rand.NewPCG(1, 2))
	all := make([]deadline, n)
	for i := range all {
		all[i] = deadline{int64(i) * 1_800_000 / int64(n), fmt.Sprintf("session-%07d", i)}
	}
	if !ordered {
		rng.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	return all
}

// What a million timers cost: memory beyond the keys, an addition, a move and a removal of the first.
func BenchmarkDeadlines(b *testing.B) {
	const n = 1_000_000
	for _, ordered := range []bool{true, false} {
		all := many(n, ordered)
		fill := func() *deadlines {
			d := &deadlines{}
			for _, x := range all {
				d.add(x)
			}
			return d
		}
		b.Run(fmt.Sprintf("add/ordered=%v", ordered), func(b *testing.B) {
			for b.Loop() {
				before := heap()
				d := fill()
				b.ReportMetric(float64(heap()-before)/n, "B/timer")
				runtime.KeepAlive(d)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/timer")
		})
		b.Run(fmt.Sprintf("move/ordered=%v", ordered), func(b *testing.B) {
			d := fill()
			moved := slices.Clone(all)
			i := 0
			for b.Loop() {
				x := &moved[i%n]
				d.remove(*x)
				x.at += 1_800_000
				d.add(*x)
				i++
			}
			b.ReportMetric(float64(len(d.chunks)*chunkDeadlines*24)/n, "B/timer")
		})
		b.Run(fmt.Sprintf("pop/ordered=%v", ordered), func(b *testing.B) {
			d := fill()
			for b.Loop() {
				x, ok := d.first()
				if !ok {
					b.StopTimer()
					d = fill()
					b.StartTimer()
					continue
				}
				d.remove(x)
			}
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
