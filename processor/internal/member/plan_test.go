package member

import (
	"slices"
	"testing"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAPlanGivesWhatIsFreeToTheNearestCopy(t *testing.T) {
	for _, c := range []struct {
		name       string
		candidates []broker.Candidate
		want       []int
	}{
		{"nobody has anything", []broker.Candidate{{}, {}}, []int{0, 1, 0, 1}},
		{"an owner keeps its own against a better copy", []broker.Candidate{{Owned: []int32{0, 1}}, {Owned: []int32{2, 3}, Have: []int64{9, 9, 9, 9}}}, []int{0, 0, 1, 1}},
		{"the dead one's go where the standbys are", []broker.Candidate{{Owned: []int32{0}, Have: []int64{7, 0, 0, 5}}, {Owned: []int32{1}, Have: []int64{0, 7, 6, 4}}}, []int{0, 1, 1, 0}},
		{"further is nearer", []broker.Candidate{{Have: []int64{5, 5, 5, 5}}, {Have: []int64{9, 1, 9, 1}}}, []int{1, 0, 1, 0}},
		{"one that comes back gets what it knows", []broker.Candidate{{Owned: []int32{0, 1, 2, 3}, Have: []int64{8, 8, 8, 8}}, {Have: []int64{0, 6, 0, 6}}}, []int{0, 1, 0, 1}},
		{"one that is new takes its share", []broker.Candidate{{Owned: []int32{0, 1, 2, 3}}, {}}, []int{0, 0, 1, 1}},
		{"who owns most keeps the odd one", []broker.Candidate{{Owned: []int32{0}}, {Owned: []int32{1, 2, 3}}, {}}, []int{0, 1, 1, 2}},
		{"a copy without room is no use", []broker.Candidate{{Owned: []int32{0, 1}, Have: []int64{0, 0, 9, 9}}, {}}, []int{0, 0, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, Plan(c.candidates, 4)) })
	}
}

func TestAPlanIsBalancedAndKeepsWhatItMay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.Int32Range(1, 20).Draw(t, "partitions")
		candidates := make([]broker.Candidate, rapid.IntRange(1, 6).Draw(t, "candidates"))
		for n := range partitions {
			if c := rapid.IntRange(-1, len(candidates)-1).Draw(t, "owner"); c >= 0 {
				candidates[c].Owned = append(candidates[c].Owned, n)
			}
		}
		for c := range candidates {
			candidates[c].Have = rapid.SliceOfN(rapid.Int64Range(0, 3), 0, int(partitions)).Draw(t, "have")
		}
		of := Plan(candidates, partitions)
		require.Equal(t, of, Plan(candidates, partitions), "the plan of a leader is that of another")
		count := make([]int, len(candidates))
		for _, c := range of {
			require.GreaterOrEqual(t, c, 0, "a partition is left over: %v", of)
			count[c]++
		}
		require.LessOrEqual(t, slices.Max(count)-slices.Min(count), 1, "%v", of)
		for c := range candidates {
			for _, n := range candidates[c].Owned {
				if of[n] != c { // it moved: its owner has all that it may have
					require.GreaterOrEqual(t, count[c], int(partitions)/len(candidates), "%v moves partition %d", of, n)
				}
			}
		}
		// What was carried out stays as it is.
		settled := make([]broker.Candidate, len(candidates))
		for n, c := range of {
			settled[c].Owned = append(settled[c].Owned, int32(n))
			settled[c].Have = candidates[c].Have
		}
		require.Equal(t, of, Plan(settled, partitions), "a second plan moves again")
	})
}
