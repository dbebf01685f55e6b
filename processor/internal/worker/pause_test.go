package worker

import (
	"context"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/topology"
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
