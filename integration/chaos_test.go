package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// Three processes, the way of one of them to the broker, and the broker, each under a random, seeded schedule of faults; then
// the audit. PENSTOCK_TEST_CHAOS is how long, by default 90 seconds; an hour is about three thousand faults. PENSTOCK_TEST_CHAOS_SEED repeats a schedule.
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
	for n := range c.members {
		c.members[n] = c.again(n)
	}
	count := int(over.Seconds() * 8000)
	wait := c.feeding(count, over)
	c.targets = c.all()
	for end := time.Now().Add(over); time.Now().Before(end); {
		c.step()
	}
	for _, t := range c.targets {
		c.heal(t)
	}
	wait()
	c.supervise()
	fed := c.audit().Transactions
	require.GreaterOrEqual(t, fed, count)
	for n := range c.members {
		c.terminate(n)
	}
	require.Equal(t, fed, c.audit().Updates)
	t.Logf("%d transactions exact; %d faults survived: %v", fed, total(c.survived), c.survived)
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
	targets  []*target
	survived map[string]int // by kind
}

// target is what suffers one fault at a time, beside those of the other targets.
type target struct {
	name   string
	faults []fault
	rest   time.Duration // the most between two faults
	due    time.Time     // when the next one begins, or the one in force ends
	now    *fault
}

type fault struct {
	kind       string
	lasts      time.Duration // the most, where a fault is as long as chance has it
	begin, end func()        // end may be nil
}

// all are the three members, the first one's way to the broker, and the broker.
func (c *chaos) all() []*target {
	c.t.Helper()
	var all []*target
	for n := range c.members {
		kill := func() { c.members[n].kill() }
		again := func() { c.members[n] = c.again(n) }
		stop := func() { c.signal(n, syscall.SIGSTOP) }
		wake := func() { c.signal(n, syscall.SIGCONT) }
		all = append(all, &target{name: fmt.Sprintf("member %d", n), rest: 2 * time.Second, faults: []fault{
			{"kill -9", 0, kill, again},
			{"kill -9, restart later", 4 * time.Second, kill, again},
			{"kill -9 and state wiped", 0, kill, func() { c.must(os.RemoveAll(c.dir(n))); again() }},
			{"kill -9 and an old copy of the state put back", 0, kill, func() { c.putBack(n); again() }},
			{"SIGTERM", 0, func() { c.terminate(n) }, again},
			{"SIGSTOP for a moment", time.Second, stop, wake},
			{"SIGSTOP past the session", 9 * time.Second, stop, wake},
		}})
	}
	proxy := c.broker.Proxy()
	return append(all,
		&target{name: "the way of member 0", rest: 5 * time.Second, faults: []fault{
			{"network cut for a moment", time.Second, proxy.Silence, proxy.Heal},
			{"network cut past the session", 9 * time.Second, proxy.Silence, proxy.Heal},
			{"answers lost", 3 * time.Second, proxy.Deafen, proxy.Heal},
			{"connections reset", time.Second, proxy.Reset, proxy.Heal},
		}},
		&target{name: "the broker", rest: 30 * time.Second, faults: []fault{
			{"broker kill -9", 0, c.broker.Kill, c.broker.Restart},
			{"broker stopped and started", 0, c.broker.Restart, nil},
			{"broker frozen", 3 * time.Second, c.broker.Pause, c.broker.Unpause},
		}})
}

// step waits until the first target is due, and ends its fault or begins one.
func (c *chaos) step() {
	t := slices.MinFunc(c.targets, func(a, b *target) int { return a.due.Compare(b.due) })
	time.Sleep(time.Until(t.due))
	if t.now != nil {
		c.heal(t)
		return
	}
	c.supervise()
	t.now = &t.faults[c.rng.IntN(len(t.faults))]
	t.now.begin()
	t.due = time.Now().Add(t.now.lasts)
	if strings.HasSuffix(t.now.kind, "later") {
		t.due = time.Now().Add(c.upTo(t.now.lasts))
	}
}

// heal ends the fault that is in force.
func (c *chaos) heal(t *target) {
	if t.now == nil {
		return
	}
	if t.now.end != nil {
		t.now.end()
	}
	c.survived[t.now.kind]++
	c.t.Logf("%s: %s", t.name, t.now.kind)
	t.now, t.due = nil, time.Now().Add(c.upTo(t.rest))
}

// signal sends one to a member that may just have ended, which supervise sees to.
func (c *chaos) signal(n int, s syscall.Signal) {
	c.t.Helper()
	if err := c.members[n].cmd.Process.Signal(s); !errors.Is(err, os.ErrProcessDone) {
		c.must(err)
	}
}

// terminate ends a member by SIGTERM, within 10 s whatever else is broken. It may have ended before, for want of a broker.
func (c *chaos) terminate(n int) {
	c.t.Helper()
	p := c.members[n]
	p.terminate()
	require.True(c.t, p.err == nil || foundNoBroker(p), "%v\n%s", p.err, p.log.tail(4000))
}

// foundNoBroker tells whether a member that ended says that no broker answered at its start.
func foundNoBroker(p *process) bool {
	return strings.Contains(lastLine(p.log.tail(2000)), "reach brokers")
}

// supervise starts a member again that found no broker at its start, which it tells whoever started it. No other may have
// ended, but those that a fault has just ended.
func (c *chaos) supervise() {
	c.t.Helper()
	for n, p := range c.members {
		if c.targets[n].now != nil {
			continue
		}
		select {
		case <-p.done:
			if !foundNoBroker(p) {
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

func (c *chaos) upTo(most time.Duration) time.Duration {
	return time.Duration(c.rng.Int64N(int64(most)))
}

// again starts member n. The first one's way to the broker is the one that is cut.
func (c *chaos) again(n int) *process {
	c.t.Helper()
	if n == 0 {
		return c.memberAt(c.broker.Proxy().Addr(), n, "--standby", "1")
	}
	return c.member(n, "--standby", "1")
}

// putBack swaps the member's directory with the copy taken the last time.
func (c *chaos) putBack(n int) {
	c.t.Helper()
	old := filepath.Join(c.root, fmt.Sprintf("old-%d", n))
	fresh := old + "-next"
	c.must(os.MkdirAll(c.dir(n), 0o700)) // a member that was ended at its start has none
	c.must(os.CopyFS(fresh, os.DirFS(c.dir(n))))
	if _, err := os.Stat(old); err == nil {
		c.must(os.RemoveAll(c.dir(n)))
		c.must(os.Rename(old, c.dir(n)))
	}
	c.must(os.Rename(fresh, old))
}
