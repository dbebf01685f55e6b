package worker

import (
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
)

// R7: a loop that stood still, and wakes before it is told that it lost its partitions, does not call its state current.
func TestALoopThatStoodStillRefreshesNothing(t *testing.T) {
	topo := &topology.Topology{ID: "app", Inputs: []string{"in"}, Bind: func(topology.Runtime) topology.Handler { return nil }}
	store := statestore.NewMemory()
	old := time.Now().Add(-time.Hour)
	o := &owned{epoch: 1, task: task.New(task.Config{Topology: topo, Store: store}, task.Position{Inputs: []int64{0}, Time: old.UnixMilli()})}
	owner := uint64(1)
	w := New(Config{Topology: topo, Epoch: func(int32) uint64 { return owner }, Session: broker.SessionConfig{TransactionTimeout: 10 * time.Second}})
	w.began()
	require.True(t, w.refresh(o))
	w.turnedAt = time.Now().Round(0).Add(-11 * time.Second)
	w.began()
	require.False(t, w.refresh(o), "frozen")
	w.began()
	require.False(t, w.refresh(o), "nobody has said that it is still a member")
	w.doubtful = false // a commit was taken
	require.True(t, w.refresh(o))
	w.turnedAt = time.Now().Round(0).Add(time.Minute)
	w.began()
	require.False(t, w.refresh(o), "a clock that was set back")
	w.doubtful, owner = false, 2
	require.False(t, w.refresh(o), "lost")
}
