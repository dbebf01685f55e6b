package engine_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
)

// Section 6, F28: the memory flag bounds the caches whatever the values' size: a transaction ends before what it touched outgrows them, and
// what the store has not taken yet is waited for.
func TestLargeValuesAreBoundedByTheMemoryFlag(t *testing.T) {
	const (
		records = 12_000
		size    = 10_000
		memory  = 16 << 20 // half of it the caches'
	)
	w := newWorld(t)
	app := processor.New("large")
	state := processor.NewState(app, "text", codec.Text())
	length := processor.NewOutput(app, output, codec.Int64())
	processor.Handle(app, input, codec.Int64(), func(c *processor.Context, n int64) error {
		text, _ := state.Get(c)
		text = text[:min(len(text), size)] + strings.Repeat("x", size+int(n))
		state.Set(c, text)
		length.Emit(c, int64(len(text)))
		return nil
	})
	var rs []*kgo.Record
	want := map[string][]string{}
	for i := range records {
		key := fmt.Sprint("k", i%(records/2))
		raw, err := codec.Int64().Append(nil, int64(i))
		require.NoError(t, err)
		rs = append(rs, &kgo.Record{Topic: input, Key: []byte(key), Value: raw})
		n := size + i + len(want[key])*size // a key's second record finds the first one's text
		raw, err = codec.Int64().Append(nil, int64(n))
		require.NoError(t, err)
		want[key] = append(want[key], string(raw))
	}
	require.NoError(t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
	w.sent = records

	monitor := engine.NewMonitor()
	var most atomic.Int64
	cfg := w.config(t.TempDir()).WithStep(func(s worker.Step) error {
		if s == worker.Kept {
			sum := 0
			for _, p := range monitor.Status().Partitions {
				sum += p.Cache.Bytes
			}
			most.Store(max(most.Load(), int64(sum)))
		}
		return nil
	})
	cfg.MemoryBytes, cfg.Monitor = memory, monitor
	cfg.CommitInterval, cfg.TransactionTimeout, cfg.SessionTimeout = 20*time.Second, time.Minute, time.Minute // it is not what ends a transaction
	stop := w.runApp(app, cfg)
	require.Equal(t, want, w.updates())
	stop()
	t.Logf("the caches held %d KiB at the most", most.Load()>>10)
	require.Greater(t, most.Load(), int64(memory/8), "nothing was cached")
	require.Less(t, most.Load(), int64(3*memory))
}
