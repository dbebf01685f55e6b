package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is fetched ahead is shared by the sessions of a process, and by the brokers that each of them asks.
func TestWhatIsFetchedAheadIsShared(t *testing.T) {
	for _, c := range []struct {
		sessions, brokers int
		want              int32
	}{{0, 0, 512 << 10}, {1, 1, 512 << 10}, {2, 1, 512 << 10}, {2, 3, 170 << 10}, {8, 3, 64 << 10}, {64, 30, 64 << 10}} {
		got := SessionConfig{Sessions: c.sessions}.fetchMaxBytes(c.brokers)
		require.InDelta(t, c.want, got, 1<<10, "%+v", c)
	}
	require.Equal(t, maxBufferedBytes, SessionConfig{}.maxBufferedBytes())
	large := SessionConfig{Writes: []string{"a", "b"}, BatchBytes: func(topic string) int32 { return map[string]int32{"a": 1, "b": 10 << 20}[topic] }}
	require.Equal(t, 20<<20, large.maxBufferedBytes())
}
