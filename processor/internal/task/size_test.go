package task

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/topology"
)

// F28: the cache's estimate of its memory is the sum of its entries', however values grow, shrink, go and are evicted, so that
// its budget is kept whatever passes through it.
func TestTheCacheCountsWhatItHolds(t *testing.T) {
	app := processor.New("app")
	state := processor.NewState(app, "state", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		switch v {
		case "":
			state.Remove(c)
		case "refused":
			state.Set(c, strings.Repeat("x", 500))
			return processor.Reject("refused", fmt.Errorf("refused"))
		default:
			state.Set(c, v)
		}
		return nil
	})
	topo, err := app.Topology()
	require.NoError(t, err)
	const budget = 3000
	rapid.Check(t, func(t *rapid.T) {
		s := newSide(topo, budget)
		offset := int64(0)
		for range rapid.IntRange(1, 60).Draw(t, "actions") {
			switch rapid.IntRange(0, 6).Draw(t, "action") {
			case 0:
				s.Abort()
				offset = s.Next(0)
			case 1:
				s.commit(1)
			case 2:
				s.commit(1)
				s.freeze()
				for len(s.frozen) > 0 {
					s.apply(t)
				}
				require.LessOrEqual(t, s.CacheBytes(), budget, "all of it can be evicted")
			default:
				key := strings.Repeat("k", rapid.SampledFrom([]int{1, 30, 39, 40, 60}).Draw(t, "key")) + fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "which"))
				value := rapid.SampledFrom([]string{"", "refused", "v", strings.Repeat("v", 28), strings.Repeat("v", 29), strings.Repeat("v", 300)}).Draw(t, "value")
				require.NoError(t, s.Step(&topology.Record{Offset: offset, Key: []byte(key), Value: []byte(value)}, 1))
				offset++
			}
			sum := 0
			tb := s.tables[0]
			for _, r := range tb.ring {
				sum += tb.size(tb.at(r))
			}
			require.Equal(t, sum, s.CacheBytes())
		}
	})
}
