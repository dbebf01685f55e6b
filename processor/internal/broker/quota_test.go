package broker

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A quota is told in the log once in a while, and not for each answer; a short wait is not.
func TestAQuotaIsTold(t *testing.T) {
	var log bytes.Buffer
	q := &quotas{log: slog.New(slog.NewTextHandler(&log, nil))}
	q.OnBrokerThrottle(kgo.BrokerMetadata{NodeID: 3}, throttledFor-1, false)
	require.Empty(t, log.String())
	for range 10 {
		q.OnBrokerThrottle(kgo.BrokerMetadata{NodeID: 3}, 1500*time.Millisecond, false)
	}
	require.Equal(t, 1, strings.Count(log.String(), "a quota of the brokers holds this process up"))
	require.Contains(t, log.String(), "broker=3 wait=1.5s")
}
