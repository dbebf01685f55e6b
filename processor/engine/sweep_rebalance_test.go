package engine_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
)

// rebalanceKinds are the points that members pass while another one joins.
func rebalanceKinds() []string {
	var kinds []string
	for _, s := range []string{"acquired", "read-back", "restored", "opened", "releasing", "released", "kept", "frozen"} {
		kinds = append(kinds, "step "+s)
	}
	for _, r := range []string{"JoinGroup", "SyncGroup", "Heartbeat", "OffsetFetch", "TxnOffsetCommit", "EndTxn"} {
		kinds = append(kinds, "before "+r, "after "+r)
	}
	return kinds
}

// R2, R5, R11: a member that dies at any point of a rebalance, the one that gives partitions away or the one that takes
// them, leaves everything exact, and its next life too.
func TestCrashInARebalance(t *testing.T) {
	t.Parallel()
	seed, depth := envInt(t, envSeed, 1), envInt(t, envDepth, 1)
	var tally deaths
	t.Run("kind", func(t *testing.T) {
		for _, kind := range rebalanceKinds() {
			t.Run(strings.ReplaceAll(kind, " ", "-"), func(t *testing.T) {
				t.Parallel()
				replay(t, seed, depth)
				tally.add(kind, sweepRebalance(t, kind, seed, depth))
			})
		}
	})
	tally.print(t, depth)
}

// sweepRebalance lets b join a, again and again, and one of them die at the kind's first, second, ... occurrence since.
func sweepRebalance(t *testing.T, kind string, seed, depth int) map[string]int {
	w := newWorld(t)
	m := &members{w: w, cfg: w.lifeConfig(), rng: rngOf(seed, kind), disks: map[string]*vfs.MemFS{}, after: map[string]int{}}
	m.cfg.SessionTimeout = 3 * time.Second
	for nth := 1; nth <= depth; nth++ {
		victims := []string{"a", "b"}
		m.rng.Shuffle(2, func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
		for _, victim := range victims {
			m.round(victim, point{kind, nth})
			if depth == 1 && len(m.after) > 0 {
				break // the short form is content with either
			}
		}
	}
	w.last(window(), m.disks["a"])
	return m.after
}

// members are two, and what is left of their disks.
type members struct {
	w     *world
	cfg   engine.Config
	rng   *rand.Rand
	disks map[string]*vfs.MemFS
	after map[string]int // what their deaths were followed by
}

func (m *members) begin(name string, at point) *life {
	return m.w.begin(window(), m.cfg, name, m.disks[name], at, m.rng)
}

// round lets b join a, the victim die, and live again.
func (m *members) round(victim string, at point) {
	m.w.t.Helper()
	defer m.w.feed(5, 10*time.Millisecond)()
	lives := map[string]*life{"a": m.begin("a", point{})}
	lives["a"].await()
	if victim == "a" {
		lives["a"].arm(at)
		lives["b"] = m.begin("b", point{})
	} else {
		lives["b"] = m.begin("b", at)
	}
	dying := lives[victim]
	select {
	case <-dying.crashed:
	case <-lives["b"].lived: // the rebalance is over
	case <-time.After(progressLimit):
		require.Fail(m.w.t, "the rebalance does not end")
	}
	if left, crashed := dying.stop(); crashed {
		var fate string
		fate, m.disks[victim] = next(m.rng, left, []*vfs.MemFS{left})
		m.w.t.Logf("%s died at %v; the disk is %s", victim, at, fate)
		m.after[victim+" died, "+fate]++
		lives[victim] = m.begin(victim, point{})
		lives[victim].await()
	}
	for _, name := range []string{"b", "a"} {
		m.disks[name], _ = lives[name].stop()
		lives[name].sound()
	}
}
