package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// R2, R12: sessions that fall silent are closed once, whatever is killed meanwhile, and none is left open in the end.
func TestIdleTimeoutsUnderKillsAreExact(t *testing.T) {
	const transactions, kills, pause = 60_000, 12, 1500 * time.Millisecond
	b := kafkatest.Start(t)
	b.CreateTopic(t, "transactions", 8, nil)
	b.CreateTopic(t, "session-updates", 8, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	root := t.TempDir()
	// A session has a transaction every 1.5 s: about half of the pauses are time-outs.
	common := []string{"--brokers", b.Addr(), "--app", "idle", "--idle-timeout", "1s"}
	begin := func(n int) *process {
		return start(t, append([]string{"run", "--instance", fmt.Sprintf("member-%d", n), "--workers", "2",
			"--state-dir", filepath.Join(root, fmt.Sprint(n)), "--session-timeout", "6s"}, common...)...)
	}
	members := []*process{begin(0), begin(1)}
	fed := make(chan error, 1)
	go func() { fed <- feed([]string{b.Addr()}, transactions, kills*pause, seed) }()
	for i := range kills {
		time.Sleep(pause/2 + time.Duration(rng.Int64N(int64(pause))))
		n := i % 2
		members[n].running()
		members[n].kill()
		if i%4 >= 2 {
			require.NoError(t, os.RemoveAll(filepath.Join(root, fmt.Sprint(n))))
		}
		members[n] = begin(n)
	}
	require.NoError(t, <-fed)
	for deadline := time.Now().Add(90 * time.Second); ; {
		v := audit(t, append(common, "--wait", "60s")...)
		if v.OpenSessions == 0 {
			require.Equal(t, transactions, v.Transactions)
			require.Greater(t, v.Updates, v.Transactions+1000, "time-outs")
			t.Logf("%d kills, verdict %+v", kills, v)
			break
		}
		require.True(t, time.Now().Before(deadline), "sessions stay open: %+v", v)
		time.Sleep(time.Second)
	}
	for _, m := range members {
		m.stop()
	}
	audit(t, common...)
}
