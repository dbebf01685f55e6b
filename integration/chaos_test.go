package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Three processes and a broker under a random, seeded schedule of faults; then the audit. PENSTOCK_TEST_CHAOS is how long,
// by default 90 seconds. PENSTOCK_TEST_CHAOS_SEED repeats a schedule.
func TestChaos(t *testing.T) {
	over := 90 * time.Second
	if s := os.Getenv("PENSTOCK_TEST_CHAOS"); s != "" {
		var err error
		over, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PENSTOCK_TEST_CHAOS_SEED"); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("PENSTOCK_TEST_CHAOS=%v PENSTOCK_TEST_CHAOS_SEED=%d", over, seed)
	c := &chaos{cluster: newCluster(t, "chaos", 8, kafkatest.WithProxy()), rng: rand.New(rand.NewPCG(seed, 2)), survived: map[string]int{}}
	t.Cleanup(func() {
		if t.Failed() {
			c.transactions()
		}
	})
	for n := range c.members {
		c.members[n] = c.again(n)
	}
	count := int(over.Seconds() * 5000)
	wait := c.feeding(count, over)
	for end := time.Now().Add(over); time.Now().Before(end); {
		c.fault()
	}
	wait()
	c.supervise()
	fed := c.audit().Transactions
	require.GreaterOrEqual(t, fed, count)
	for _, p := range c.members {
		p.stop()
	}
	require.Equal(t, fed, c.audit().Updates)
	t.Logf("%d transactions exact; %d faults survived: %v", fed, total(c.survived), c.survived)
}

// transactions logs what the broker holds open, and its last words.
func (c *chaos) transactions() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	admin := kadm.NewClient(c.client())
	listed, err := admin.ListTransactions(ctx, nil, nil)
	c.t.Logf("transactions: %v", err)
	for _, l := range listed.Sorted() {
		c.t.Logf("%+v", l)
	}
	described, err := admin.DescribeTransactions(ctx, listed.TransactionalIDs()...)
	c.t.Logf("described: %v", err)
	for _, d := range described.Sorted() {
		c.t.Logf("%+v", d)
	}
	c.offsetsLog(ctx)
	log := c.broker.Logs()
	c.t.Logf("broker:\n%s", log[max(0, len(log)-20000):])
}

// offsetsLog logs which producers wrote offsets last and did not end their transaction, as far as the log tells.
func (c *chaos) offsetsLog(ctx context.Context) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.broker.Addr()), kgo.ConsumeTopics("__consumer_offsets"), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return
	}
	defer cl.Close()
	type writer struct {
		partition int32
		producer  int64
	}
	open, lines := map[writer]*kgo.Record{}, map[int32][]string{}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if r.ProducerID < 0 {
				return
			}
			w := writer{r.Partition, r.ProducerID}
			lines[r.Partition] = append(lines[r.Partition], fmt.Sprintf("%d: producer %d epoch %d control %v key %q value %q at %v", r.Offset, r.ProducerID, r.ProducerEpoch, r.Attrs.IsControl(), r.Key, r.Value, r.Timestamp))
			if r.Attrs.IsControl() {
				delete(open, w)
			} else {
				open[w] = r
			}
		})
	}
	for w, r := range open {
		c.t.Logf("offsets of producer %d, partition %d, are open since offset %d, epoch %d", w.producer, w.partition, r.Offset, r.ProducerEpoch)
	}
	for p, all := range lines {
		for _, line := range all[max(0, len(all)-60):] {
			c.t.Logf("offsets partition %d, %s", p, line)
		}
	}
}

func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

type chaos struct {
	*cluster
	rng      *rand.Rand
	members  [3]*process
	survived map[string]int // by kind
}

// fault does one thing to a member, or to the broker.
func (c *chaos) fault() {
	c.t.Helper()
	n := c.rng.IntN(len(c.members))
	c.supervise()
	p := c.members[n]
	again := func() { c.members[n] = c.again(n) }
	kinds := []struct {
		name string
		do   func()
	}{
		{"kill -9", func() { p.kill(); again() }},
		{"kill -9, restart later", func() { p.kill(); c.rest(4 * time.Second); again() }},
		{"kill -9 and state wiped", func() { p.kill(); c.must(os.RemoveAll(c.dir(n))); again() }},
		{"kill -9 and an old copy of the state put back", func() { p.kill(); c.putBack(n); again() }},
		{"SIGTERM", func() { p.stop(); again() }},
		{"SIGSTOP for a moment", func() { c.freeze(p, time.Second) }},
		{"SIGSTOP past the session", func() { c.freeze(p, 9*time.Second) }},
		{"broker kill -9", func() { c.broker.Kill(); c.broker.Restart() }},
		{"network cut for a moment", func() { c.cut(c.broker.Proxy().Silence, time.Second) }},
		{"network cut past the session", func() { c.cut(c.broker.Proxy().Silence, 9*time.Second) }},
		{"answers lost", func() { c.cut(c.broker.Proxy().Deafen, 3*time.Second) }},
		{"connections reset", func() { c.cut(c.broker.Proxy().Reset, time.Second) }},
		{"broker stopped and started", func() { c.broker.Restart() }},
		{"broker frozen", func() { c.broker.Pause(); c.rest(3 * time.Second); c.broker.Unpause() }},
	}
	kind := kinds[c.rng.IntN(len(kinds))]
	began := time.Now()
	kind.do()
	c.survived[kind.name]++
	c.t.Logf("%s of member %d took %v", kind.name, n, time.Since(began).Round(time.Millisecond))
	c.rest(2 * time.Second)
}

// supervise starts a member again that found no broker at its start, which it tells whoever started it. No other may have
// ended.
func (c *chaos) supervise() {
	c.t.Helper()
	for n, p := range c.members {
		select {
		case <-p.done:
			if !strings.Contains(lastLine(p.log.tail(2000)), "reach brokers") {
				p.running()
			}
			c.members[n] = c.again(n)
			c.survived["start without a broker"]++
		default:
		}
	}
}

func (c *chaos) must(err error) {
	c.t.Helper()
	require.NoError(c.t, err)
}

// rest waits up to a time.
func (c *chaos) rest(most time.Duration) { time.Sleep(time.Duration(c.rng.Int64N(int64(most)))) }

// again starts member n. The first one's way to the broker is the one that is cut.
func (c *chaos) again(n int) *process {
	c.t.Helper()
	if n == 0 {
		return c.memberAt(c.broker.Proxy().Addr(), n, "--standby", "1")
	}
	return c.member(n, "--standby", "1")
}

func (c *chaos) cut(begin func(), lasts time.Duration) {
	begin()
	time.Sleep(lasts)
	c.broker.Proxy().Heal()
}

func (c *chaos) freeze(p *process, d time.Duration) {
	c.t.Helper()
	c.must(p.cmd.Process.Signal(syscall.SIGSTOP))
	time.Sleep(d)
	c.must(p.cmd.Process.Signal(syscall.SIGCONT))
}

// putBack swaps the member's directory with the copy taken the last time.
func (c *chaos) putBack(n int) {
	c.t.Helper()
	old := filepath.Join(c.root, fmt.Sprintf("old-%d", n))
	fresh := old + "-next"
	c.must(os.CopyFS(fresh, os.DirFS(c.dir(n))))
	if _, err := os.Stat(old); err == nil {
		c.must(os.RemoveAll(c.dir(n)))
		c.must(os.Rename(old, c.dir(n)))
	}
	c.must(os.Rename(fresh, old))
}
