package deadletters

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What was replayed is closed for ever, and nothing else, through any order of filters and restarts.
func TestProgressRemembersWhatWasPassedOver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, replayed := &progress{}, map[int64]bool{}
		for range rapid.IntRange(1, 6).Draw(t, "runs") {
			chosen := rapid.SliceOfN(rapid.Bool(), 40, 40).Draw(t, "chosen")
			for i, yes := range chosen {
				if o := int64(i); yes && p.open(o) {
					require.False(t, replayed[o], "offset %d twice", o)
					p.done(o)
					replayed[o] = true
				}
			}
			text, err := p.encode()
			require.NoError(t, err)
			p, err = decode(p.next, text)
			require.NoError(t, err)
		}
		for o := range int64(50) {
			require.Equal(t, !replayed[o], p.open(o), "offset %d", o)
		}
	})
}
