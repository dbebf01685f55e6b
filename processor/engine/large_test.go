package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
)

const (
	largeValue  = 10_000   // bytes
	largeMemory = 16 << 20 // half of it the caches'
)

// largeApp keeps a text of each key, and says how long it was at each record.
func largeApp() *processor.App {
	app := processor.New("large")
	state := processor.NewState(app, "text", codec.Text())
	length := processor.NewOutput(app, output, codec.Int64())
	processor.Handle(app, input, codec.Int64(), func(c *processor.Context, n int64) error {
		text, _ := state.Get(c)
		text = text[:min(len(text), largeValue)] + strings.Repeat("x", largeValue+int(n))
		state.Set(c, text)
		length.Emit(c, int64(len(text)))
		return nil
	})
	return app
}

// sendLarge produces n records, two for each key, and notes what they must yield.
func (w *world) sendLarge(n int) {
	w.t.Helper()
	int64s := func(i int) []byte {
		raw, err := codec.Int64().Append(nil, int64(i))
		require.NoError(w.t, err)
		return raw
	}
	var rs []*kgo.Record
	for i := range n {
		key := fmt.Sprint("k", i%(n/2))
		rs = append(rs, &kgo.Record{Topic: input, Key: []byte(key), Value: int64s(i)})
		found := len(w.want[key]) * largeValue // the second record finds the first one's text
		w.want[key] = append(w.want[key], string(int64s(found+largeValue+i)))
	}
	require.NoError(w.t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
	w.sent += n
}

// largeConfig is one with small caches and long transactions: it is not the time that ends them.
func largeConfig(cfg engine.Config) engine.Config {
	cfg.MemoryBytes = largeMemory
	cfg.CommitInterval, cfg.TransactionTimeout, cfg.SessionTimeout = 20*time.Second, time.Minute, time.Minute
	return cfg
}

// Section 6, F28: the memory flag bounds the caches whatever the values' size: a transaction ends before what it touched outgrows them, and
// what the store has not taken yet is waited for.
func TestLargeValuesAreBoundedByTheMemoryFlag(t *testing.T) {
	w := newWorld(t)
	w.sendLarge(6000)
	monitor := engine.NewMonitor()
	var most atomic.Int64
	cfg := largeConfig(w.config(t.TempDir()).WithStep(func(s worker.Step) error {
		if s == worker.Kept {
			sum := 0
			for _, p := range monitor.Status().Partitions {
				sum += p.Cache.Bytes
			}
			most.Store(max(most.Load(), int64(sum)))
		}
		return nil
	}))
	cfg.Monitor = monitor
	stop := w.runApp(largeApp(), cfg)
	require.Equal(t, w.want, w.updates())
	stop()
	t.Logf("the caches held %d KiB at the most", most.Load()>>10)
	require.Greater(t, most.Load(), int64(largeMemory/8), "nothing was cached")
	require.Less(t, most.Load(), int64(3*largeMemory))
}

// R8, R11: partitions are released while their worker waits for the store, in the midst of what it fetched, and all is exact.
func TestPartitionsAreReleasedWhileTheStoreIsFull(t *testing.T) {
	w := newWorld(t)
	w.sendLarge(4000)
	q := &quota{FS: vfs.NewMem()}
	q.left.Store(3 << 20)
	var log logged
	a := w.runApp(largeApp(), largeConfig(w.onQuota(q, &log)))
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "until there is room") }, 20*time.Second, time.Millisecond, "the disk is not full: %s", &log)
	left := w.written()
	require.Less(t, left, int64(w.sent), "nothing is left to be done")
	b := w.runApp(largeApp(), largeConfig(w.config(t.TempDir())))
	require.Eventually(t, func() bool { return w.written() > left }, 30*time.Second, time.Millisecond, "nobody goes on: %s", &log)
	q.left.Store(plenty)
	require.Equal(t, w.want, w.updates(), "%s", &log)
	a()
	b()
}
