package integration

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// R6: --idle-timeout is turned on, under kills, and off again: every update stays exact. On again is refused while the
// deadlines of the first time are there.
func TestAnIdleTimeoutIsTurnedOnAndOff(t *testing.T) {
	t.Parallel()
	const transactions = 4000
	b := kafkatest.Start(t)
	b.CreateTopic(t, "transactions", 4, nil)
	b.CreateTopic(t, "session-updates", 4, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	common := []string{"--brokers", b.Addr(), "--app", "change"}
	plain := append([]string{"run", "--instance", "only", "--workers", "2", "--state-dir", t.TempDir(), "--session-timeout", "6s"}, common...)
	idle := append(append([]string(nil), plain...), "--idle-timeout", "1s")
	total := 0
	exact := func(flags ...string) verdict {
		t.Helper()
		total += transactions
		v := audit(t, append(append(append([]string(nil), common...), "--wait", "60s"), flags...)...)
		require.Equal(t, total, v.Transactions)
		return v
	}

	p := start(t, plain...)
	require.NoError(t, feed([]string{b.Addr()}, transactions, time.Second, seed))
	exact()
	p.stop()

	p = start(t, idle...)
	fed := make(chan error, 1)
	go func() { fed <- feed([]string{b.Addr()}, transactions, 4*time.Second, seed+1) }()
	for range 4 {
		time.Sleep(200*time.Millisecond + time.Duration(rng.Int64N(int64(time.Second))))
		p.running()
		p.kill()
		p = start(t, idle...)
	}
	require.NoError(t, <-fed)
	require.Greater(t, exact("--idle-timeout", "1s").Updates, total, "time-outs")
	p.stop()

	p = start(t, plain...)
	require.NoError(t, feed([]string{b.Addr()}, transactions, time.Second, seed+2))
	exact("--idle-timeout", "1s")
	p.stop()

	_, stderr, status := run(t, 30*time.Second, idle...)
	require.Equal(t, 1, status, stderr)
	require.Contains(t, stderr, "change-idle-timers")
	require.Contains(t, stderr, "come back to life")
}
