package worker

import (
	"context"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/telemetry"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
)

// A pause ends, also where a task's state is restored at the moment at which the time is over.
func TestAPauseEnds(t *testing.T) {
	w := New(Config{Topology: &topology.Topology{ID: "app"}, Cache: NewCacheBudget(1)})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 100 {
		w.inbox.put(restored{of: &restoring{}})
		ended := make(chan error, 1)
		go func() { ended <- w.pause(ctx, 0) }()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-ctx.Done():
			t.Fatal("the pause does not end")
		}
		require.Len(t, w.inbox.take(), 1, "what wants a session is kept")
	}
}

// What an error leaves unanswered stays in the inbox, as in a turn: a release that got lost would be waited for for ever.
func TestAPauseThatFailsLosesNothing(t *testing.T) {
	topo, err := session.Window(session.Config{ID: "app", Input: "in", Output: "out"}).Topology()
	require.NoError(t, err)
	w := New(Config{Topology: topo, Cache: NewCacheBudget(1), Flusher: NewFlusher(nil, nil, 0, nil)})
	o := &owned{task: task.New(task.Config{Topology: w.cfg.Topology}, task.Position{Inputs: []int64{0}}), flushing: &flushing{done: make(chan struct{}), err: statestore.ErrCorrupt}}
	close(o.flushing.done)
	w.tasks[0] = o
	w.inbox.put(restored{of: &restoring{}})
	w.inbox.put(applied{o})
	released := make(chan struct{})
	go func() {
		w.Release(1, true)
		close(released)
	}()
	require.Eventually(t, func() bool {
		w.inbox.mu.Lock()
		defer w.inbox.mu.Unlock()
		return len(w.inbox.items) == 3
	}, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, w.pause(t.Context(), 0), statestore.ErrCorrupt)
	w.Close()
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Fatal("the release is lost")
	}
}

// stopping is done, but tells nobody.
type stopping struct{ context.Context }

func (stopping) Err() error { return context.Canceled }

// What ends the process is told also where the process was about to end: a release may find it, and the end of the release is the
// end of the process.
func TestAFatalErrorIsToldAtTheStop(t *testing.T) {
	w := New(Config{Topology: &topology.Topology{ID: "app"}, Cache: NewCacheBudget(1), Monitor: telemetry.New()})
	of := &restoring{}
	w.restores[0] = of
	w.inbox.put(restored{of: of, err: task.ErrDeadline})
	var fatal *Fatal
	require.ErrorAs(t, w.Run(stopping{t.Context()}), &fatal)
	require.ErrorIs(t, fatal, task.ErrDeadline)
}
