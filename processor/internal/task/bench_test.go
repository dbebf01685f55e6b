package task_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/statestore"
)

// BenchmarkStep is one record of the session window, its part of a commit every 10,000 records included: 25,000 keys,
// one in 50 a deposit.
func BenchmarkStep(b *testing.B) {
	topo, err := session.Window(session.Config{ID: "bench", Input: "in", Output: "out"}).Topology()
	if err != nil {
		b.Fatal(err)
	}
	const keys = 25_000
	rng := rand.New(rand.NewPCG(1, 1))
	records := make([]topology.Record, 1<<17)
	for i := range records {
		id := fmt.Sprintf("session-%d", rng.IntN(keys))
		records[i] = topology.Record{Key: []byte(id), Value: fmt.Appendf(nil, `{"sessionId":%q,"winAmount":%d.%02d,"deposit":%t}`,
			id, rng.IntN(1000), rng.IntN(100), rng.IntN(50) == 0)}
	}
	var arena task.Arena
	t := task.New(task.Config{Topology: topo, Store: statestore.NewMemory(), Arena: &arena},
		task.Position{Inputs: []int64{0}, Changelogs: []int64{0}})
	b.ReportAllocs()
	n := 0
	var r topology.Record
	for b.Loop() {
		r = records[n%len(records)]
		r.Offset = int64(n)
		if err := t.Step(&r, 1); err != nil {
			b.Fatal(err)
		}
		t.ClearEffects()
		if n++; n%10_000 == 0 {
			t.Prepare(nil)
			t.ClearEffects()
			t.Keep([]int64{-1}, 1)
			arena.Reset()
		}
	}
}
