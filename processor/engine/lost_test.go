package engine_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/processor/engine"
)

// Records that are gone before they were processed are named, with their range, and passed: a loss, and no violation of R4.
func TestRecordsThatRetentionRemovedAreNamed(t *testing.T) {
	for name, stopped := range map[string]bool{"while it was stopped": true, "while it was held up": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := t.TempDir()
			var log logged
			cfg := w.config(dir)
			cfg.Logger, cfg.Monitor = slog.New(slog.NewTextHandler(&log, nil)), engine.NewMonitor()
			w.send(400)
			stop := w.start(cfg)
			w.updates()
			var foreign *kgo.Client
			if stopped {
				stop()
			} else { // it reads nothing from behind the last stable offset
				foreign = w.foreign(input)
			}
			w.send(300)
			listed, err := kadm.NewClient(w.client).ListEndOffsets(t.Context(), input)
			require.NoError(t, err)
			for p, end := range listed[input] {
				require.NoError(t, w.cluster.DeleteRecords(input, p, end.Offset))
			}
			if stopped {
				cfg.Monitor = engine.NewMonitor()
				stop = w.start(cfg)
			} else {
				require.NoError(t, foreign.EndTransaction(t.Context(), kgo.TryAbort))
			}
			const says = "retention removed records before they were processed: they are lost"
			require.Eventually(t, func() bool { return strings.Contains(log.String(), says) }, 20*time.Second, 10*time.Millisecond, "%v", &log)
			require.Regexp(t, says+`".* topic=transactions from=\d+ to=\d+`, strings.ReplaceAll(log.String(), "partition=", ""))
			w.send(200)
			w.read(func(_ map[string][]string, n int) bool { return n >= 600 })
			require.Eventually(t, func() bool { return cfg.Monitor.Status().Ready }, 20*time.Second, 10*time.Millisecond)
			require.Zero(t, cfg.Monitor.Status().Counts.Violations)
			stop()
		})
	}
}

// R10: keys that another partitioner placed are counted, the first is logged, and each partition has a sum of its own.
func TestMisplacedKeysAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log logged
	cfg := w.config(t.TempDir())
	cfg.Logger, cfg.Monitor = slog.New(slog.NewTextHandler(&log, nil)), engine.NewMonitor()
	stop := w.start(cfg)
	manual, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer manual.Close()
	for p := range int32(4) {
		r := &kgo.Record{Topic: input, Partition: p, Key: []byte("s1"), Value: []byte(`{"sessionId":"s1","winAmount":1}`)}
		require.NoError(t, manual.ProduceSync(t.Context(), r).FirstErr())
	}
	got := w.read(func(_ map[string][]string, n int) bool { return n >= 4 })
	one := `{"sessionId":"s1","currentBalance":1,"depositCurrentBalance":false}`
	require.Equal(t, map[string][]string{"s1": {one, one, one, one}}, got)
	require.Eventually(t, func() bool { return cfg.Monitor.Status().Counts.Misplaced == 3 }, 20*time.Second, 10*time.Millisecond)
	stop()
	require.Equal(t, 1, strings.Count(log.String(), "a key is on a partition that the default partitioner would not choose"))
}
