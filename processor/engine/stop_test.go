package engine_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// Section 6, F21: an engine stops in time though the brokers vanished in mid-commit and its time-outs are long.
func TestStopsInTimeWithoutBrokers(t *testing.T) {
	for _, kind := range []string{"before Produce", "after TxnOffsetCommit", "before EndTxn", "before LeaveGroup", "step read-back"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.send(300)
			cfg := w.lifeConfig()
			cfg.SessionTimeout = time.Minute
			disk, _ := w.lead(w.begin(window(), cfg, "a", nil, point{"step kept", 3}, rand.New(rand.NewPCG(1, 1))))
			l := w.begin(window(), cfg, "a", disk.CrashClone(vfs.CrashCloneCfg{}), point{kind, 1}, rand.New(rand.NewPCG(1, 1)))
			_, crashed := w.lead(l)
			require.True(t, crashed, "the brokers did not vanish")
		})
	}
}

// Section 6: an engine stops in time while the group waits for a member that died, for a minute.
func TestStopsWhileTheGroupWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(300)
	cfg := w.lifeConfig()
	cfg.SessionTimeout = time.Minute
	rng := rand.New(rand.NewPCG(1, 1))
	_, crashed := w.lead(w.begin(window(), cfg, "a", nil, point{"step kept", 3}, rng))
	require.True(t, crashed)
	b := w.begin(window(), cfg, "b", nil, point{}, rng)
	require.Eventually(t, func() bool { return b.passed("after JoinGroup") > 0 }, 20*time.Second, time.Millisecond)
	b.stop()
	require.Zero(t, b.passed("after SyncGroup"), "the group did not wait")
}
