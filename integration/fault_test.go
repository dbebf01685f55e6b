package integration

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// cluster is an application with members that a test may break.
type cluster struct {
	t      *testing.T
	broker *kafkatest.Broker // the first
	addrs  []string          // of all brokers
	app    string
	common []string // of what looks at it
	root   string
	cl     *kgo.Client
}

// client is one for questions, closed when the test ends.
func (c *cluster) client() *kgo.Client {
	c.t.Helper()
	if c.cl == nil {
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...))
		require.NoError(c.t, err)
		c.t.Cleanup(cl.Close)
		c.cl = cl
	}
	return c.cl
}

// newCluster starts a broker with an input of some partitions.
func newCluster(t *testing.T, app string, partitions int, opts ...kafkatest.Option) *cluster {
	t.Helper()
	b := kafkatest.Start(t, opts...)
	b.CreateTopic(t, "transactions", partitions, nil)
	b.CreateTopic(t, "session-updates", partitions, nil)
	return clusterAt(t, app, b)
}

// clusterAt is an application on brokers that have its topics.
func clusterAt(t *testing.T, app string, brokers ...*kafkatest.Broker) *cluster {
	c := &cluster{t: t, broker: brokers[0], app: app, root: t.TempDir()}
	for _, b := range brokers {
		c.addrs = append(c.addrs, b.Addr())
	}
	c.common = []string{"--brokers", strings.Join(c.addrs, ","), "--app", app}
	t.Cleanup(func() {
		if t.Failed() {
			c.transactions()
		}
	})
	return c
}

func (c *cluster) dir(n int) string { return filepath.Join(c.root, fmt.Sprint(n)) }

// member starts member n.
func (c *cluster) member(n int, args ...string) *process {
	c.t.Helper()
	return c.memberAt(strings.Join(c.addrs, ","), n, args...)
}

// memberAt starts member n, which finds the broker at an address.
func (c *cluster) memberAt(addr string, n int, args ...string) *process {
	c.t.Helper()
	return start(c.t, append([]string{"run", "--brokers", addr, "--app", c.app, "--instance", fmt.Sprintf("member-%d", n), "--state-dir", c.dir(n), "--session-timeout", "6s"}, args...)...)
}

// feeding feeds n transactions over a time, and waits for them.
func (c *cluster) feeding(n int, over time.Duration) (wait func()) {
	fed := make(chan error, 1)
	go func() { fed <- feed(c.addrs, n, over, uint64(time.Now().UnixNano())) }()
	return func() {
		c.t.Helper()
		require.NoError(c.t, <-fed)
	}
}

func (c *cluster) audit() verdict {
	c.t.Helper()
	return audit(c.t, append(c.common, "--wait", "90s")...)
}

// R2, R13: a process that is frozen past its session and its transaction, and wakes, does no harm and goes on.
func TestAFrozenProcessWakesWithoutHarm(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "frozen", 4)
	a, b := c.member(0), c.member(1)
	wait := c.feeding(100_000, 40*time.Second)
	for range 2 {
		time.Sleep(4 * time.Second)
		require.NoError(t, a.cmd.Process.Signal(syscall.SIGSTOP))
		time.Sleep(12 * time.Second)
		require.NoError(t, a.cmd.Process.Signal(syscall.SIGCONT))
	}
	wait()
	require.Equal(t, 100_000, c.audit().Transactions)
	a.running()
	b.running()
	a.stop()
	b.stop()
}

// F22: the broker dies again and again; the same process goes on.
func TestTheBrokerMayDie(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "orphan", 4)
	p := c.member(0)
	produce(t, "--brokers", c.broker.Addr(), sample(t, 1000))
	c.audit()
	wait := c.feeding(200_000, 40*time.Second)
	for range 4 {
		time.Sleep(3 * time.Second)
		c.broker.Kill()
		time.Sleep(2 * time.Second)
		c.broker.Restart()
		p.running()
	}
	wait()
	require.Equal(t, 201_000, c.audit().Transactions)
	p.running()
	p.stop()
}

// F21, section 6: the broker freezes for longer than every time-out; the process waits and goes on, and SIGTERM ends it
// in time even so.
func TestTheBrokerMayFreeze(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "patient", 4)
	p := c.member(0)
	wait := c.feeding(50_000, 15*time.Second)
	time.Sleep(5 * time.Second)
	c.broker.Pause()
	time.Sleep(20 * time.Second)
	p.running()
	c.broker.Unpause()
	wait()
	require.Equal(t, 50_000, c.audit().Transactions)
	p.running()
	c.broker.Pause()
	began := time.Now()
	p.stop()
	t.Logf("SIGTERM with a frozen broker: %v", time.Since(began).Round(time.Millisecond))
	c.broker.Unpause()
	p = c.member(0)
	c.audit()
	p.stop()
}

// F04: members join and leave under load.
func TestMembersComeAndGo(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "restless", 8)
	p := c.member(0)
	wait := c.feeding(300_000, 30*time.Second)
	for range 8 {
		q := c.member(1)
		time.Sleep(2 * time.Second)
		q.stop()
	}
	wait()
	require.Equal(t, 300_000, c.audit().Transactions)
	p.stop()
}
