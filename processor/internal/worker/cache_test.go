package worker

import (
	"testing"

	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
)

// A worker without tasks leaves its part of the cache to the others.
func TestTheCacheIsSharedByWhatRuns(t *testing.T) {
	topo := &topology.Topology{ID: "app", Inputs: []string{"in"}, Bind: func(topology.Runtime) topology.Handler { return nil }}
	store, budget := statestore.NewMemory(), NewCacheBudget(600)
	a, b := New(Config{Topology: topo, Cache: budget}), New(Config{Topology: topo, Cache: budget})
	tasks := make([]*owned, 3)
	for p := range tasks {
		tasks[p] = &owned{task: task.New(task.Config{Topology: topo, Partition: int32(p), Store: store}, task.Position{Inputs: []int64{0}})}
	}
	a.own(tasks[0])
	require.Equal(t, 600, a.cacheBytes)
	a.own(tasks[1])
	b.own(tasks[2])
	a.shareCache()
	require.Equal(t, 200, a.cacheBytes)
	require.Equal(t, 200, b.cacheBytes)
	a.disown(tasks[0])
	a.disown(tasks[1])
	b.shareCache()
	require.Equal(t, 600, b.cacheBytes)
}
