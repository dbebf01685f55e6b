package integration

import (
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// R2, R3, F05: the network of one of two processes is cut past its session and its transaction, in the ways that networks
// are, while its tasks go to the other; it comes back, does no harm and goes on without a restart.
func TestTheNetworkMayBeCut(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "cut", 4, kafkatest.WithProxy())
	proxy := c.broker.Proxy()
	a := c.memberAt(proxy.Addr(), 0)
	b := c.member(1)
	const count = 150_000
	wait := c.feeding(count, 60*time.Second)
	for _, cut := range []struct {
		name  string
		begin func()
		lasts time.Duration
	}{
		{"silence past the session", proxy.Silence, 12 * time.Second},
		{"answers lost for a moment", proxy.Deafen, 2 * time.Second},
		{"connections reset", proxy.Reset, 3 * time.Second},
		{"answers lost past the session", proxy.Deafen, 12 * time.Second},
	} {
		time.Sleep(4 * time.Second)
		cut.begin()
		time.Sleep(cut.lasts)
		proxy.Heal()
		a.running()
		b.running()
		t.Logf("%s: survived", cut.name)
	}
	wait()
	require.Contains(t, a.log.tail(1<<20), "partitions lost", "the cut was felt")
	require.Equal(t, count, c.audit().Transactions)
	// What was cut off is whole again: it takes all over.
	b.stop()
	produce(t, "--brokers", c.broker.Addr(), sample(t, 1000))
	require.Equal(t, count+1000, c.audit().Transactions)
	a.stop()
}
