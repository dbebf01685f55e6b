package deposits_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/cmd/penstock/internal/deposits"
	"github.com/penstock/penstock/cmd/penstock/internal/deposits/sinktest"
	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/processor/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryIsASink(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinktest.Store { return &sinktest.Memory{} })
}

const (
	topic      = "session-updates"
	partitions = 3
)

// rig is a broker with the output topic, and a store.
type rig struct {
	*sinktest.Memory
	t       *testing.T
	cluster *kfake.Cluster
	addr    string
	cl      *kgo.Client // transactional
	log     log
}

func newRig(t *testing.T) *rig {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	r := &rig{Memory: &sinktest.Memory{}, t: t, cluster: c, addr: c.ListenAddrs()[0]}
	r.cl, err = kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.TransactionalID("t"))
	require.NoError(t, err)
	t.Cleanup(r.cl.Close)
	return r
}

// instance is one Run.
type instance struct {
	t    *testing.T
	stop context.CancelFunc
	done chan error
}

var owners atomic.Int64

func (r *rig) run(change ...func(*deposits.Config)) *instance {
	ctx, cancel := context.WithCancel(context.Background())
	cfg := deposits.Config{Connection: &kafka.Connection{Brokers: []string{r.addr}}, Topic: topic, Group: "g",
		Owner: fmt.Sprint("owner", owners.Add(1)), SessionTimeout: 6 * time.Second, Sink: r.Memory, Logger: slog.New(slog.NewTextHandler(&r.log, nil))}
	for _, c := range change {
		c(&cfg)
	}
	i := &instance{t: r.t, stop: cancel, done: make(chan error, 1)}
	go func() { i.done <- deposits.Run(ctx, cfg) }()
	r.t.Cleanup(cancel)
	return i
}

// end waits for what Run returns.
func (i *instance) end() error {
	i.t.Helper()
	select {
	case err := <-i.done:
		return err
	case <-time.After(20 * time.Second):
		i.t.Fatal("still running")
		return nil
	}
}

func (i *instance) finish() {
	i.t.Helper()
	i.stop()
	require.NoError(i.t, i.end())
}

// send produces one transaction.
func (r *rig) send(commit bool, records ...*kgo.Record) {
	r.t.Helper()
	require.NoError(r.t, r.cl.BeginTransaction())
	require.NoError(r.t, r.cl.ProduceSync(r.t.Context(), records...).FirstErr())
	require.NoError(r.t, r.cl.EndTransaction(r.t.Context(), kgo.TransactionEndTry(commit)))
}

func closing(id, balance, reason string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(id), Value: fmt.Appendf(nil, `{"sessionId":%q,"currentBalance":%s,"depositCurrentBalance":true}`, id, balance),
		Headers: []kgo.RecordHeader{{Key: session.CloseReason, Value: []byte(reason)}}}
}

func open(id, balance string) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: []byte(id), Value: fmt.Appendf(nil, `{"sessionId":%q,"currentBalance":%s,"depositCurrentBalance":false}`, id, balance)}
}

// sum tells sessions and amounts of what is stored, in no order.
func (r *rig) sum() map[string]int {
	all := map[string]int{}
	for _, d := range r.Stored(r.t) {
		all[d.SessionID+" "+d.Amount.String()+" "+d.Reason]++
	}
	return all
}

func (r *rig) eventually(want map[string]int) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return len(r.Stored(r.t)) >= len(want) }, 20*time.Second, 5*time.Millisecond, "log:\n%s", &r.log)
	require.Equal(r.t, want, r.sum())
}

type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestClosingUpdatesAloneAreStored(t *testing.T) {
	r := newRig(t)
	r.send(true, open("s1", "1"), closing("s1", "0.10", "deposit"), open("s2", "3"), closing("s2", "-7.00", "idle-timeout"))
	r.send(false, closing("s3", "1", "deposit"))
	i := r.run()
	r.eventually(map[string]int{"s1 0.10 deposit": 1, "s2 -7.00 idle-timeout": 1})
	r.send(true, closing("s1", "5", "deposit"))
	want := map[string]int{"s1 0.10 deposit": 1, "s2 -7.00 idle-timeout": 1, "s1 5 deposit": 1}
	r.eventually(want)
	for _, d := range r.Stored(t) {
		require.WithinDuration(t, time.Now(), d.ClosedAt, time.Minute)
	}
	i.finish()

	// Another goes on where this one ended, whatever the group's offsets say.
	_, err := kadm.NewClient(r.cl).DeleteGroup(t.Context(), "g")
	require.NoError(t, err)
	i = r.run()
	r.send(true, closing("s4", "1", "deposit"))
	want["s4 1 deposit"] = 1
	r.eventually(want)
	i.finish()
}

func TestFromTheEnd(t *testing.T) {
	r := newRig(t)
	r.send(true, closing("s1", "1", "deposit"))
	claimed := make(chan struct{}, 100)
	r.After = func(string) error { claimed <- struct{}{}; return nil }
	i := r.run(func(c *deposits.Config) { c.FromEnd = true })
	<-claimed // prepare
	<-claimed // claim
	r.send(true, closing("s2", "2", "deposit"))
	r.eventually(map[string]int{"s2 2 deposit": 1})
	i.finish()
}

// Whatever a store answers, and whether it did its work or not, each update is stored once.
func TestEachOnceWhateverTheStoreAnswers(t *testing.T) {
	r := newRig(t)
	away, broken := errors.New("away"), errors.New("connection broken")
	var calls, after atomic.Int64
	r.Before = func(string) error {
		switch calls.Add(1) % 11 {
		case 3:
			return deposits.Unavailable(away)
		case 7:
			return fmt.Errorf("write: %w", deposits.ErrTakenOver)
		}
		return nil
	}
	r.After = func(string) error { // it took effect, and nobody knows
		if after.Add(1)%7 == 4 {
			return deposits.Unavailable(broken)
		}
		return nil
	}
	all := []*instance{r.run(), r.run()}
	want := map[string]int{}
	for n := range 300 {
		id := fmt.Sprint("s", n)
		commit := n%5 > 0
		r.send(commit, open(id, "1"), closing(id, "2.50", "deposit"))
		if commit {
			want[id+" 2.50 deposit"] = 1
		}
		if n%100 == 50 {
			all[0].stop()
			require.NoError(t, all[0].end())
			all = append(all[1:], r.run())
		}
	}
	r.Before, r.After = nil, nil
	r.eventually(want)
	for _, i := range all {
		i.finish()
	}
	require.Positive(t, after.Load())
}

// An update that cannot be read is named, what is before it is stored, nothing behind it is, and it can be passed over.
func TestWhatIsNoUpdateStopsIt(t *testing.T) {
	bad := map[string]*kgo.Record{
		"no value":       {Topic: topic, Key: []byte("s1")},
		"no JSON":        {Topic: topic, Key: []byte("s1"), Value: []byte("{")},
		"another key":    {Topic: topic, Key: []byte("s2"), Value: closing("s1", "1", "").Value, Headers: closing("s1", "1", "").Headers},
		"no header":      {Topic: topic, Key: []byte("s1"), Value: closing("s1", "1", "").Value},
		"header alone":   {Topic: topic, Key: []byte("s1"), Value: open("s1", "1").Value, Headers: closing("s1", "1", "").Headers},
		"header no text": closing("s1", "1", "\xff"),
		"amount":         closing("s1", "1e999", "deposit"),
	}
	for name, record := range bad {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.cl.Close()
			var err error
			r.cl, err = kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.TransactionalID("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			require.NoError(t, err)
			t.Cleanup(r.cl.Close)
			first, last := closing("s1", "1", "deposit"), closing("s1", "3", "deposit")
			for _, rec := range []*kgo.Record{first, record, last} {
				rec.Partition = 2
			}
			r.send(true, first, record, last)
			err = r.run().end()
			require.ErrorContains(t, err, "topic session-updates partition 2 offset 1 is no session update")
			require.ErrorContains(t, err, "--skip 2/1")
			require.Equal(t, map[string]int{"s1 1 deposit": 1}, r.sum())
			i := r.run(func(c *deposits.Config) { c.Skip = []deposits.Place{{Partition: 2, Offset: 1}} })
			r.eventually(map[string]int{"s1 1 deposit": 1, "s1 3 deposit": 1})
			i.finish()
		})
	}
}

func TestAnotherTopicOfTheNameIsAnError(t *testing.T) {
	r := newRig(t)
	require.ErrorContains(t, r.run(func(c *deposits.Config) { c.Topic = "none" }).end(), "topic none does not exist")
	r.send(true, closing("s1", "1", "deposit"))
	i := r.run()
	r.eventually(map[string]int{"s1 1 deposit": 1})
	i.finish()

	err := r.run(func(c *deposits.Config) { c.Group = "h" }).end()
	require.ErrorIs(t, err, deposits.ErrForeign)
	require.ErrorContains(t, err, "use --group g")

	adm := kadm.NewClient(r.cl)
	_, err = adm.DeleteTopic(t.Context(), topic)
	require.NoError(t, err)
	_, err = adm.CreateTopic(t.Context(), partitions, 1, nil, topic)
	require.NoError(t, err)
	err = r.run().end()
	require.ErrorIs(t, err, deposits.ErrForeign)
	require.ErrorContains(t, err, "it was deleted and made anew")
}

// The same while it runs: it stops before it writes what is of the other.
func TestATopicMadeAnewUnderARunningInstance(t *testing.T) {
	deposits.LookOften(t)
	r := newRig(t)
	r.send(true, closing("s1", "1", "deposit"))
	i := r.run()
	r.eventually(map[string]int{"s1 1 deposit": 1})
	adm := kadm.NewClient(r.cl)
	_, err := adm.DeleteTopic(t.Context(), topic)
	require.NoError(t, err)
	_, err = adm.CreateTopic(t.Context(), partitions, 1, nil, topic)
	require.NoError(t, err)
	require.ErrorIs(t, i.end(), deposits.ErrForeign, &r.log)
	require.Equal(t, map[string]int{"s1 1 deposit": 1}, r.sum())
}

// Brokers that go away are waited for, and said.
func TestWaitsForTheBrokers(t *testing.T) {
	deposits.LookOften(t)
	r := newRig(t)
	r.send(true, closing("s1", "1", "deposit"))
	i := r.run()
	r.eventually(map[string]int{"s1 1 deposit": 1})
	r.cluster.Close()
	require.Eventually(t, func() bool {
		return strings.Contains(r.log.String(), `msg=waiting for="describe topic session-updates`)
	}, 20*time.Second, 5*time.Millisecond)
	i.finish()
}

// Of two processes with one --instance one says so and stops.
func TestTwoOfOneInstance(t *testing.T) {
	r := newRig(t)
	named := func(c *deposits.Config) { c.Instance = "one" }
	first := r.run(named)
	r.send(true, closing("s1", "1", "deposit"))
	r.eventually(map[string]int{"s1 1 deposit": 1})
	second := r.run(named)
	require.ErrorContains(t, first.end(), "another process joined the group g as --instance one")
	r.send(true, closing("s2", "1", "deposit"))
	r.eventually(map[string]int{"s1 1 deposit": 1, "s2 1 deposit": 1})
	second.finish()
}

// Offsets that the topic does not hold are named, never passed over.
func TestOffsetsOutsideOfTheTopic(t *testing.T) {
	r := newRig(t)
	for n := range 30 {
		r.send(true, closing(fmt.Sprint("s", n), "1", "deposit"))
	}
	i := r.run()
	require.Eventually(t, func() bool { return len(r.Stored(t)) == 30 }, 20*time.Second, 5*time.Millisecond)
	i.finish()
	for p := range int32(partitions) {
		r.Set(topic, p, 1000)
	}
	require.ErrorContains(t, r.run().end(), "the store goes on at offset 1000, and the topic ends at")
	for p := range int32(partitions) {
		r.Set(topic, p, 1)
	}
	offsets := kadm.Offsets{}
	for p := range int32(partitions) {
		offsets.AddOffset(topic, p, 4, -1)
	}
	_, err := kadm.NewClient(r.cl).DeleteRecords(t.Context(), offsets)
	require.NoError(t, err)
	require.ErrorContains(t, r.run().end(), "the store goes on at offset 1, and the topic begins at 4")
}

// A store that does not answer is waited for, and said once.
func TestWaitsForTheStore(t *testing.T) {
	r := newRig(t)
	r.send(true, closing("s1", "1", "deposit"))
	var failed atomic.Int64
	enough := make(chan struct{})
	r.Before = func(call string) error {
		if failed.Add(1) <= 4 {
			return deposits.Unavailable(errors.New("nobody\nlistens"))
		}
		if call == "prepare" {
			close(enough)
		}
		return nil
	}
	i := r.run()
	<-enough
	r.eventually(map[string]int{"s1 1 deposit": 1})
	require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "going on") }, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, 1, strings.Count(r.log.String(), "msg=waiting"), &r.log)
	require.Contains(t, r.log.String(), `for="nobody listens"`)
	i.finish()

	r.Before = func(string) error { return errors.New("no right") }
	require.ErrorContains(t, r.run().end(), "no right")
	asked := make(chan struct{}, 100)
	r.Before = func(string) error { asked <- struct{}{}; return deposits.Unavailable(errors.New("away")) }
	i = r.run()
	<-asked
	<-asked
	i.finish() // it can be stopped while it waits
}
