package task

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
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

// A million timers that are read from a store, and all fire.
func BenchmarkMillionTimers(b *testing.B) {
	const n = 1_000_000
	fired := 0
	topo := &topology.Topology{ID: "app", Inputs: []string{"in"}, States: []string{topology.TimerState("alarm")},
		Timers: []topology.Timer{{Name: "alarm"}}, Bind: func(topology.Runtime) topology.Handler { return counter{&fired} }}
	var batch statestore.Batch
	for _, x := range many(n, false) {
		batch.Set(append(StatePrefix(0, topo.States[0]), x.key...), topology.AppendDeadline(nil, x.at))
	}
	store := statestore.NewMemory()
	if err := store.Apply(&batch); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		before, began := heap(), time.Now()
		timers, err := ReadTimers(store, topo, 0)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "read-ns/timer")
		b.ReportMetric(float64(heap()-before)/n-16, "B/timer-beyond-key") // the key has 15 bytes, in a class of 16
		t := New(Config{Topology: topo, Store: store, Timers: timers, Arena: &Arena{}}, Position{Inputs: []int64{0}, Changelogs: []int64{0}})
		began = time.Now()
		for more := true; more; {
			if _, more, err = t.Tick(1<<40, 1<<40, 10_000); err != nil {
				b.Fatal(err)
			}
			t.Prepare(nil)
			t.ClearEffects()
			t.Keep([]int64{0}, 0)
			var frozen statestore.Batch
			t.Applied(t.Freeze(&frozen, Identity{}))
		}
		b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "fire-ns/timer")
	}
	if fired != n*b.N {
		b.Fatalf("%d fired", fired)
	}
}

type counter struct{ n *int }

func (c counter) Handle(*topology.Record) error {
	*c.n++
	return nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
