package task

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/statestore"
)

// faulty is a store whose GetAll fails after some keys.
type faulty struct {
	*statestore.Memory
	after int // -1: never
	read  int
}

func (f *faulty) GetAll(keys *statestore.Keys, fn func(key, value []byte, ok bool) error) error {
	n := 0
	return f.Memory.GetAll(keys, func(key, value []byte, ok bool) error {
		if n++; n > f.after && f.after >= 0 {
			return errors.New("the disk is gone")
		}
		f.read++
		return fn(key, value, ok)
	})
}

// side is a task with a store of its own.
type side struct {
	*Task
	store  *faulty
	frozen []statestore.Batch // not yet applied
	seqs   []uint64
	said   []string // its effects
}

func newSide(topo *topology.Topology, cacheBytes int) *side {
	store := &faulty{Memory: statestore.NewMemory(), after: -1}
	return &side{store: store, Task: New(Config{Topology: topo, Store: store, Arena: &Arena{}, CacheBytes: cacheBytes},
		Position{Inputs: []int64{0}, Changelogs: make([]int64, len(topo.States))})}
}

func (s *side) hear() {
	for _, e := range s.Effects() {
		s.said = append(s.said, fmt.Sprintf("%d %d %s %q %v", e.Kind, e.Index, e.Key, e.Value, e.Value == nil))
	}
	s.ClearEffects()
}

func (s *side) commit(now int64) {
	s.hear()
	s.Prepare(nil)
	s.hear()
	s.Keep(make([]int64, len(s.tables)), now)
}

func (s *side) freeze() {
	var b statestore.Batch
	s.seqs = append(s.seqs, s.Freeze(&b, Identity{}))
	s.frozen = append(s.frozen, b)
}

func (s *side) apply(t require.TestingT) {
	if len(s.frozen) == 0 {
		return
	}
	require.NoError(t, s.store.Apply(&s.frozen[0]))
	s.Applied(s.seqs[0])
	s.frozen, s.seqs = s.frozen[1:], s.seqs[1:]
}

// Whatever is read ahead, and whenever, with a cache of a few entries, timers, known keys, aborts and a store that fails: the
// effects are those of a task that reads nothing ahead.
func TestReadingAheadChangesNoEffect(t *testing.T) {
	topo, err := session.Window(session.Config{ID: "ahead", Input: "in", Output: "out", Idle: time.Minute}).Topology()
	require.NoError(t, err)
	ahead := 0
	rapid.Check(t, func(rt *rapid.T) {
		cache := rapid.SampledFrom([]int{500, 5_000, 40_000}).Draw(rt, "cache")
		reads, asks := newSide(topo, cache), newSide(topo, cache)
		both := []*side{reads, asks}
		now := int64(1_000_000)
		offset := int64(0)
		for range rapid.IntRange(1, 30).Draw(rt, "batches") {
			var records []topology.Record
			for range rapid.IntRange(1, 40).Draw(rt, "records") {
				id := fmt.Sprint("s", rapid.IntRange(0, 60).Draw(rt, "session"))
				records = append(records, topology.Record{Key: []byte(id), Offset: offset, Timestamp: now,
					Value: fmt.Appendf(nil, `{"sessionId":%q,"winAmount":%d,"deposit":%t}`, id, offset%7, rapid.IntRange(0, 5).Draw(rt, "deposit") == 0)})
				offset++
			}
			step := func() {
				for i := range records {
					if rest := records[i:]; i%AheadEvery == 0 {
						reads.store.after = rapid.SampledFrom([]int{-1, -1, -1, 0, 3}).Draw(rt, "store")
						reads.Ahead(len(rest), func(j int) []byte { return rest[j].Key })
						reads.store.after = -1
					}
					for _, s := range both {
						r := records[i]
						require.NoError(rt, s.Step(&r, now))
					}
				}
			}
			step()
			if rapid.IntRange(0, 4).Draw(rt, "abort") == 0 {
				reads.Abort()
				asks.Abort()
				step()
			}
			now += rapid.SampledFrom([]int64{0, 1000, 59_000, 61_000}).Draw(rt, "pause")
			action := rapid.IntRange(0, 7).Draw(rt, "then")
			for _, s := range both {
				_, _, err := s.Tick(now, now, 5)
				require.NoError(rt, err)
				s.commit(now)
				switch action {
				case 0, 1, 2:
					s.freeze()
				case 3:
					s.freeze()
					s.apply(rt)
				case 4, 5:
					s.apply(rt)
				case 6:
					s.BeginKnown()
					known, err := ReadKnown(t.Context(), s.store, topo, 0, 1<<20)
					require.NoError(rt, err)
					s.EndKnown(known)
				}
			}
			require.Equal(rt, asks.said, reads.said)
		}
		for _, s := range both {
			s.freeze()
			for len(s.frozen) > 0 {
				s.apply(rt)
			}
		}
		require.Equal(rt, contents(rt, asks.store), contents(rt, reads.store))
		ahead += reads.store.read
	})
	require.NotZero(t, ahead, "nothing was read ahead")
	t.Logf("%d keys were read ahead", ahead)
}

func contents(t require.TestingT, s statestore.Store) (all []string) {
	require.NoError(t, s.Scan(nil, nil, func(key, value []byte) error {
		all = append(all, fmt.Sprintf("%q %q", key, value))
		return nil
	}))
	return all
}
