package session_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// R1, R3, R11: whatever the order of commits, aborts, flushes, crashes and evictions, the updates are those of a map and
// a sum.
func TestAnyHistoryEqualsTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := window(t, nil)
		if rapid.Bool().Draw(rt, "small cache") {
			d.LimitCache(1)
		}
		sums, open, want := map[string]int{}, map[string]bool{}, []string(nil)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch op := rapid.IntRange(0, 11).Draw(rt, "op"); op {
			default:
				id := string(rune('a' + rapid.IntRange(0, 5).Draw(rt, "id")))
				win, deposit := rapid.IntRange(0, 9).Draw(rt, "win"), rapid.IntRange(0, 3).Draw(rt, "deposit") == 0
				d.Send(in, id, fmt.Sprintf(`{"sessionId":"%s","winAmount":%d,"deposit":%t}`, id, win, deposit))
				sums[id] += win
				open[id] = true
				want = append(want, fmt.Sprintf(`{"sessionId":"%s","currentBalance":%d,"depositCurrentBalance":%t}`, id, sums[id], deposit))
				if deposit {
					delete(sums, id)
					delete(open, id)
				}
			case 6, 7:
				d.Commit()
			case 8:
				d.Abort()
			case 9:
				d.Flush()
			case 10:
				d.Crash()
			case 11:
				d.CrashAndWipe()
			}
		}
		d.Commit()
		require.Equal(rt, want, sent(d))
		state := d.State("total")
		require.Len(rt, state, len(open))
		for id := range open {
			require.Equal(rt, fmt.Sprintf(`{"totalSum":%d}`, sums[id]), state[id])
		}
		require.Equal(rt, state, d.Read("total"), "what a handler would read")
	})
}
