package integration

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// took stops a process and tells how long that was.
func took(t *testing.T, phase string, p *process) {
	t.Helper()
	began := time.Now()
	p.stop()
	t.Logf("SIGTERM %s: %v", phase, time.Since(began).Round(time.Millisecond))
}

// Section 6: SIGTERM ends the process within 10 s and with status 0, whatever it is at; see process.stop.
func TestItStopsInEveryPhase(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "stopping", 64)
	// Under load, with 64 partitions.
	p := c.member(0, "--workers", "4")
	wait := c.feeding(100_000, 6*time.Second)
	time.Sleep(4 * time.Second)
	took(t, "under load with 64 partitions", p)

	// From the first moment on.
	for _, after := range []time.Duration{0, 100, 400} {
		p = c.member(0)
		time.Sleep(after * time.Millisecond)
		took(t, fmt.Sprintf("%d ms after the start", after), p)
	}
	wait()

	// While the group waits for another member, which stands still.
	other := c.member(1)
	require.Eventually(t, func() bool { return strings.Contains(other.log.tail(8000), "partitions assigned") }, 30*time.Second, 20*time.Millisecond)
	require.NoError(t, other.cmd.Process.Signal(syscall.SIGSTOP))
	p = c.member(0)
	time.Sleep(time.Second)
	took(t, "while joining", p)
	require.NoError(t, other.cmd.Process.Signal(syscall.SIGCONT))
	took(t, "after standing still", other)

	// Without a broker.
	p = c.member(0)
	require.Eventually(t, func() bool { return strings.Contains(p.log.tail(8000), "partitions assigned") }, 30*time.Second, 20*time.Millisecond)
	c.broker.Kill()
	took(t, "without a broker", p)
	c.broker.Restart()

	p = c.member(0)
	require.Equal(t, 100_000, c.audit().Transactions)
	p.stop()
}

// Section 6, in the midst of a restore: the next start goes on from what was restored, or begins anew.
func TestItStopsAmidARestore(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "restoring", 2)
	p := c.member(0)
	const sessions = 200_000
	lines := make([]string, sessions)
	for i := range lines {
		lines[i] = fmt.Sprintf("session-%d,%d.25", i, i%100)
	}
	file := c.dir(9) + ".csv"
	require.NoError(t, os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600))
	produce(t, append(c.common[:2:2], file)...)
	require.Equal(t, sessions, c.audit().OpenSessions)
	p.stop()

	amid, reading := 0, regexp.MustCompile(`[1-9]\d* changelog records to read`)
	for range 3 {
		require.NoError(t, os.RemoveAll(c.dir(0)))
		p = c.member(0, "--http", "127.0.0.1:0")
		address := p.address()
		var body string
		require.Eventually(t, func() bool {
			_, body = get(t, address+"/readyz")
			return reading.MatchString(body) || strings.HasPrefix(body, "ok")
		}, 30*time.Second, 2*time.Millisecond)
		if reading.MatchString(body) {
			amid++
		}
		took(t, fmt.Sprintf("at %q", strings.TrimSpace(body)), p)
	}
	require.Positive(t, amid, "no restore was met")
	p = c.member(0)
	produce(t, append(c.common[:2:2], file)...)
	require.Equal(t, 2*sessions, c.audit().Transactions)
	p.stop()
}
