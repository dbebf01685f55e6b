package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	input  = "transactions"
	output = "session-updates"
)

// world is an embedded broker with an input, and what the window must make of it.
type world struct {
	t        *testing.T
	cluster  *kfake.Cluster
	client   *kgo.Client
	rng      *rand.Rand
	balances map[string]int
	want     map[string][]string // by session: its updates
	sent     int
	keyOf    func(id string) []byte // of the input's records; nil: the id
	failed   atomic.Pointer[error]  // of an engine that ended by itself
}

func (w *world) err() error {
	if p := w.failed.Load(); p != nil {
		return *p
	}
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, 4)
}

func newWorldOf(t *testing.T, partitions int32) *world {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(partitions, input, output))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return &world{t: t, cluster: c, client: cl, rng: rand.New(rand.NewPCG(1, 2)), balances: map[string]int{}, want: map[string][]string{}}
}

// send produces n transactions and adds what they must yield.
func (w *world) send(n int) {
	w.t.Helper()
	var rs []*kgo.Record
	for range n {
		id := "s" + strconv.Itoa(w.rng.IntN(200))
		win, deposit := w.rng.IntN(100), w.rng.IntN(20) == 0
		w.balances[id] += win
		w.want[id] = append(w.want[id], fmt.Sprintf(`{"sessionId":"%s","currentBalance":%d,"depositCurrentBalance":%t}`, id, w.balances[id], deposit))
		if deposit {
			delete(w.balances, id)
		}
		key := []byte(id)
		if w.keyOf != nil {
			key = w.keyOf(id)
		}
		rs = append(rs, &kgo.Record{Topic: input, Key: key, Value: fmt.Appendf(nil, `{"sessionId":"%s","winAmount":%d,"deposit":%t}`, id, win, deposit)})
	}
	require.NoError(w.t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
	w.sent += n
}

// updates reads the output, committed records only, until it holds as many as were sent.
func (w *world) updates() map[string][]string {
	w.t.Helper()
	return w.read(func(_ map[string][]string, n int) bool { return n >= w.sent })
}

// read reads the output until enough says so, and what lies beyond: it is there too often.
func (w *world) read(enough func(got map[string][]string, n int) bool) map[string][]string {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.ConsumeTopics(output),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(w.t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	got, n := map[string][]string{}, 0
	take := func(r *kgo.Record) {
		got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
		n++
	}
	for !enough(got, n) && ctx.Err() == nil && w.err() == nil {
		cl.PollFetches(ctx).EachRecord(take)
	}
	require.NoError(w.t, w.err(), "the engine ended")
	require.NoError(w.t, ctx.Err(), "updates are missing: %d there of %d", n, w.sent)
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	cl.PollFetches(ctx).EachRecord(take)
	return got
}

func (w *world) config(dir string) engine.Config {
	return engine.Config{Brokers: w.cluster.ListenAddrs(), StateDir: dir, Logger: slog.New(slog.NewTextHandler(testWriter{w.t}, nil)), Workers: 2}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}

// start runs the window until stop is called.
func (w *world) start(cfg engine.Config) (stop func()) {
	w.t.Helper()
	return w.runApp(session.Window(session.Config{ID: "app", Input: input, Output: output}), cfg)
}

func TestEveryTransactionYieldsItsUpdate(t *testing.T) {
	w := newWorld(t)
	w.send(5000)
	stop := w.start(w.config(t.TempDir()))
	w.send(5000)
	require.Equal(t, w.want, w.updates())
	stop()
}

func TestStateIsKeptOverRestarts(t *testing.T) {
	t.Parallel()
	for _, wipe := range []bool{false, true} {
		t.Run(fmt.Sprintf("wiped=%v", wipe), func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			for range 4 {
				w.send(3000)
				stop := w.start(w.config(dir))
				require.Equal(t, w.want, w.updates())
				stop()
				if wipe {
					dir = t.TempDir()
				}
			}
		})
	}
}
