package engine_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// runs keeps which partitions began to run.
type runs struct {
	mu  sync.Mutex
	all map[int32]bool
}

func (r *runs) ready(p int32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[int32]bool{}
	}
	r.all[p] = true
}

func (r *runs) partitions() []int32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.all))
}

// When no partition has an owner, each goes to the process whose local state is nearest to its changelog's end, under
// whatever name that process comes back.
func TestPartitionsGoWhereTheirStateIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	generation := 0
	begin := func(n int) (*runs, func()) {
		var r runs
		cfg := w.config(dirs[n])
		cfg.Ready, cfg.Stay, cfg.Instance = r.ready, true, fmt.Sprintf("member-%d-%d", n, generation)
		cfg.SessionTimeout, cfg.TransactionTimeout = 6*time.Second, 6*time.Second
		return &r, w.start(cfg)
	}
	_, stopFirst := begin(0) // gets a copy of all of them
	w.send(500)
	require.Equal(t, w.want, w.updates())
	second, stopSecond := begin(1)
	require.Eventually(t, func() bool { return len(second.partitions()) == 2 }, 20*time.Second, 10*time.Millisecond)
	w.send(500) // and the first's copies of those that went to the second are behind
	require.Equal(t, w.want, w.updates())
	had := second.partitions()
	stopFirst()
	stopSecond()

	generation++ // their names are others, so that nobody is given what was its own until the old sessions have ended
	first, stopFirst := begin(0)
	second, stopSecond = begin(1)
	w.send(500)
	require.Equal(t, w.want, w.updates())
	require.Equal(t, had, second.partitions())
	require.NotSubset(t, first.partitions(), had)
	stopFirst()
	stopSecond()
}
