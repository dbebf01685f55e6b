package integration

import (
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// The doctor finds nothing wrong beside a service that runs, measures the clock, and names a timeout that is too long.
func TestDoctor(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "in", 2, nil)
	b.CreateTopic(t, "out", 2, nil)
	base := []string{"--brokers", b.Addr(), "--app", "app", "--input", "in", "--output", "out"}
	p := start(t, append([]string{"run", "--state-dir", t.TempDir()}, base...)...)
	waitForTopic(t, b, "app-dead-letters")
	out, errs, status := run(t, time.Minute, append([]string{"doctor", "--state-dir", t.TempDir()}, base...)...)
	require.Zero(t, status, "%s%s", out, errs)
	require.Regexp(t, `ok +clock +this machine's clock`, out)
	require.Contains(t, out, "transactional ids may be used, with a timeout of 10s (at most 15m0s)")
	out, _, status = run(t, time.Minute, append([]string{"doctor", "--state-dir", t.TempDir(), "--session-timeout", "20m", "--transaction-timeout", "20m"}, base...)...)
	require.Equal(t, 1, status)
	require.Contains(t, out, "transaction timeout 20m0s is longer than the brokers' transaction.max.timeout.ms (at most 15m0s)")
	p.running()
	p.stop()
}
