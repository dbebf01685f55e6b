package engine_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The sweep's size and seed; a failure prints both.
const (
	envSeed  = "PENSTOCK_TEST_SEED"         // default 1
	envDepth = "PENSTOCK_TEST_CRASH_POINTS" // of each kind of point, its first how many occurrences; default 1
)

func envInt(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// crashKinds are the kinds of points that an engine passes, each of which a process may die at.
func crashKinds() []string {
	var kinds []string
	for s := range worker.Steps {
		kinds = append(kinds, "step "+worker.Step(s).String())
	}
	for _, r := range []string{"Fetch", "Produce", "InitProducerID", "TxnOffsetCommit", "EndTxn", "OffsetFetch", "ListOffsets",
		"OffsetCommit", "JoinGroup", "SyncGroup", "LeaveGroup"} {
		kinds = append(kinds, "before "+r, "after "+r)
	}
	for _, op := range []string{"create", "write", "sync", "rename", "remove"} {
		kinds = append(kinds, "disk "+op)
	}
	return kinds
}

// R1-R6, R11: a process that dies at any point of its way, at each of the point's first occurrences, its disk as the crash
// left it, put back from an older crash, or lost, goes on exactly.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	seed, depth := envInt(t, envSeed, 1), envInt(t, envDepth, 1)
	var tally deaths
	t.Run("kind", func(t *testing.T) {
		for _, kind := range crashKinds() {
			t.Run(strings.ReplaceAll(kind, " ", "-"), func(t *testing.T) {
				t.Parallel()
				replay(t, seed, depth)
				tally.add(kind, sweep(t, kind, seed, depth))
			})
		}
	})
	tally.print(t, depth)
}

// replay prints how a test that failed is repeated.
func replay(t *testing.T, seed, depth int) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat: %s=%d %s=%d go test ./processor/engine -count=1 -run '%s'", envSeed, seed, envDepth, depth, t.Name())
		}
	})
}

// rngOf is a generator of its own for each kind.
func rngOf(seed int, kind string) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind))
	return rand.New(rand.NewPCG(uint64(seed), h.Sum64()))
}

// sweep leads lives that crash at a kind's first, second, ... occurrence, and returns what the crashes were followed by.
func sweep(t *testing.T, kind string, seed, depth int) map[string]int {
	return sweepOf(newWorld(t), window(), kind, seed, depth)
}

// sweepOf does so with an application that takes the world's input.
func sweepOf(w *world, app *processor.App, kind string, seed, depth int) map[string]int {
	t, rng := w.t, rngOf(seed, kind)
	w.rng = rng
	var disk *vfs.MemFS
	var disks []*vfs.MemFS // earlier ones
	after := map[string]int{}
	for nth := 1; nth <= depth; nth++ {
		for try := range 3 { // a point on the way in may pass once in a life
			w.send(300)
			l := w.begin(app, w.lifeConfig(), "a", disk, point{kind, nth}, rng)
			left, crashed := w.lead(l)
			l.sound()
			if !crashed {
				disk = left
				if try == 0 && nth > 1 {
					break // it does not happen that often
				}
				continue
			}
			disks = append(disks, left)
			var fate string
			fate, disk = next(rng, left, disks)
			t.Logf("died at %v; the disk is %s", l.point, fate)
			after[fate]++
			break
		}
	}
	w.last(app, disk)
	return after
}

// next says what becomes of the disk after a crash.
func next(rng *rand.Rand, left *vfs.MemFS, earlier []*vfs.MemFS) (fate string, disk *vfs.MemFS) {
	switch rng.IntN(4) {
	case 0:
		return "wiped", nil
	case 1:
		if old := earlier[rng.IntN(len(earlier))]; old != left {
			return "put back", old.CrashClone(vfs.CrashCloneCfg{})
		}
	}
	return "kept", left.CrashClone(vfs.CrashCloneCfg{}) // left itself may be put back later
}

func (w *world) lifeConfig() engine.Config {
	return engine.Config{Brokers: w.cluster.ListenAddrs(), Workers: 2, CommitInterval: 20 * time.Millisecond}
}

// last leads a life without a crash and compares everything with the model: the updates, the changelog, and the store.
func (w *world) last(app *processor.App, disk *vfs.MemFS) {
	w.t.Helper()
	l := w.begin(app, w.lifeConfig(), "a", disk, point{}, nil)
	w.send(100)
	got := w.updates()
	disk, _ = l.stop()
	l.sound()
	same(w.t, "updates", w.want, got)
	want := map[string]string{}
	for id, sum := range w.balances {
		want[id] = fmt.Sprintf(`{"totalSum":%d}`, sum)
	}
	same(w.t, "the changelog", want, w.changelog())
	same(w.t, "the store", want, stored(w.t, disk))
}

// same compares by session, and shows the first that differs.
func same[V any](t *testing.T, what string, want, got map[string]V) {
	t.Helper()
	for _, id := range slices.Sorted(maps.Keys(want)) {
		require.Equal(t, fmt.Sprint(want[id]), fmt.Sprint(got[id]), "%s of %s", what, id)
	}
	for id := range got {
		require.Contains(t, want, id, "%s: one too many", what)
	}
}

// changelog is what the changelog says of the open sessions, by id.
func (w *world) changelog() map[string]string {
	w.t.Helper()
	const topic = "app-total-changelog"
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(w.t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	require.NoError(w.t, err)
	state, missing := map[string]string{}, 0
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			missing++
		}
	})
	for missing > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(w.t, ctx.Err(), "the changelog cannot be read to its end")
		fetches.EachRecord(func(r *kgo.Record) {
			if end, _ := ends.Lookup(topic, r.Partition); r.Offset == end.Offset-1 {
				missing--
			}
			switch {
			case r.Attrs.IsControl():
			case r.Value == nil:
				delete(state, string(r.Key))
			default:
				state[string(r.Key)] = string(r.Value)
			}
		})
	}
	return state
}

// stored is what the store on a disk says of the open sessions, by id.
func stored(t *testing.T, disk *vfs.MemFS) map[string]string {
	t.Helper()
	s, err := pebblestore.Open("store", pebblestore.Options{FS: disk})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	state := map[string]string{}
	for p := range int32(4) {
		prefix := task.StatePrefix(p, "total")
		upper := slices.Clone(prefix)
		upper[len(upper)-1]++
		require.NoError(t, s.Scan(prefix, upper, func(k, v []byte) error {
			state[string(k[len(prefix):])] = string(v)
			return nil
		}))
	}
	return state
}

// deaths counts the crashes by kind.
type deaths struct {
	mu    sync.Mutex
	kinds map[string]map[string]int
}

func (c *deaths) add(kind string, after map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds == nil {
		c.kinds = map[string]map[string]int{}
	}
	c.kinds[kind] = after
}

// print logs the counts. A kind that nobody died at tells nothing.
func (c *deaths) print(t *testing.T, depth int) {
	t.Helper()
	var kinds []string
	total := map[string]int{}
	for kind, after := range c.kinds {
		n := 0
		for fate, times := range after {
			total[fate] += times
			n += times
		}
		kinds = append(kinds, fmt.Sprintf("%-24s %d", kind, n))
		require.Positive(t, n, "nobody died at %s", kind)
	}
	slices.Sort(kinds)
	t.Logf("crashes of %d kinds, up to %d each; afterwards the disk was %v:\n%s", len(kinds), depth, total, strings.Join(kinds, "\n"))
}
