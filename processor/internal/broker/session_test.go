package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is on its way is bounded, but for a topic that takes larger batches.
func TestWhatIsOnItsWayIsBounded(t *testing.T) {
	require.Equal(t, maxBufferedBytes, SessionConfig{}.maxBufferedBytes())
	large := SessionConfig{Writes: []string{"a", "b"}, BatchBytes: func(topic string) int32 { return map[string]int32{"a": 1, "b": 10 << 20}[topic] }}
	require.Equal(t, 20<<20, large.maxBufferedBytes())
}
