package integration

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Transactions without a key, under kill -9 of both members and a freeze of one past its session: each is there once by
// session id, and the sums are exact.
func TestAnInputWithoutKeysIsRekeyedExactly(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "rekeyed", 4)
	again := func(n int) *process { return c.member(n, "--repartition") }
	members := []*process{again(0), again(1)}
	const n = 150_000
	fed := make(chan error, 1)
	go func() {
		fed <- feedBy(func(string) []byte { return nil }, c.addrs, n, 30*time.Second, uint64(time.Now().UnixNano()))
	}()
	for kills := range 6 {
		time.Sleep(3 * time.Second)
		m := kills % 2
		members[m].kill()
		members[m] = again(m)
	}
	require.NoError(t, members[1].cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(9 * time.Second)
	require.NoError(t, members[1].cmd.Process.Signal(syscall.SIGCONT))
	require.NoError(t, <-fed)
	v := audit(t, append(c.common, "--repartition", "--wait", "90s")...)
	require.Equal(t, n, v.Transactions)
	require.Equal(t, n, v.Updates)
	for _, m := range members {
		m.running()
		m.stop()
	}
}
