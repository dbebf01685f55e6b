package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// R1-R6 over both ways: a process that dies at any point of either goes on exactly, while what it processed is purged.
func TestCrashAtEveryStepWhileRekeying(t *testing.T) {
	t.Parallel()
	seed, depth := envInt(t, envSeed, 1), 1+envInt(t, envDepth, 1) // of many kinds the first is one way's, the second the other's
	var tally deaths
	t.Run("kind", func(t *testing.T) {
		for _, kind := range crashKinds() {
			t.Run(strings.ReplaceAll(kind, " ", "-"), func(t *testing.T) {
				t.Parallel()
				replay(t, seed, depth-1)
				tally.add(kind, sweepOf(newRekeyed(t), rekeyed(), kind, seed, depth))
			})
		}
	})
	tally.print(t, depth)
}

// What was processed of a repartition topic is deleted when it is old, over restarts too, and nothing that was not processed.
func TestARepartitionTopicIsPurged(t *testing.T) {
	w, dir := newRekeyed(t), t.TempDir()
	adm := kadm.NewClient(w.client)
	for range 2 {
		w.send(2000)
		stop := w.runApp(rekeyed(), w.config(dir).WithPurge(5*time.Millisecond, -time.Hour))
		require.Equal(t, w.want, w.updates())
		require.Eventually(t, func() bool {
			committed, err := adm.FetchOffsets(t.Context(), "app")
			require.NoError(t, err)
			starts, err := adm.ListStartOffsets(t.Context(), repartitionTopic)
			require.NoError(t, err)
			purged, all := int64(0), true
			starts.Each(func(start kadm.ListedOffset) {
				at, ok := committed.Lookup(repartitionTopic, start.Partition)
				require.True(t, !ok || start.Offset <= at.At, "partition %d: purged to %d, committed %d", start.Partition, start.Offset, at.At)
				all = all && ok && start.Offset == at.At
				purged += start.Offset
			})
			return all && purged >= int64(w.sent)
		}, 20*time.Second, 5*time.Millisecond)
		stop()
	}
	configs, err := adm.DescribeTopicConfigs(t.Context(), repartitionTopic)
	require.NoError(t, err)
	for _, c := range configs[0].Configs {
		if c.Key == "retention.ms" {
			require.Equal(t, "-1", c.MaybeValue())
		}
	}
}

// Processed records that are young are kept, for an audit; old ones go, by their own time.
func TestYoungRecordsOfARepartitionTopicStay(t *testing.T) {
	w := newRekeyed(t)
	old, young := time.Now().Add(-48*time.Hour), time.Now()
	for i, at := range []time.Time{old, old, young, young} {
		require.NoError(t, w.client.ProduceSync(t.Context(), &kgo.Record{Topic: input, Value: fmt.Appendf(nil, `{"sessionId":"s1","winAmount":%d}`, i), Timestamp: at}).FirstErr())
	}
	w.sent = 4
	stop := w.runApp(rekeyed(), w.config(t.TempDir()).WithPurge(5*time.Millisecond, 24*time.Hour))
	w.updates()
	adm := kadm.NewClient(w.client)
	var start, end kadm.ListedOffset
	require.Eventually(t, func() bool {
		starts, err := adm.ListStartOffsets(t.Context(), repartitionTopic)
		require.NoError(t, err)
		starts.Each(func(at kadm.ListedOffset) {
			if at.Offset > 0 {
				start = at
			}
		})
		return start.Offset > 0
	}, 20*time.Second, 5*time.Millisecond)
	stop()
	after, err := adm.ListOffsetsAfterMilli(t.Context(), young.Add(-time.Hour).UnixMilli(), repartitionTopic)
	require.NoError(t, err)
	end, _ = after.Lookup(repartitionTopic, start.Partition)
	require.LessOrEqual(t, start.Offset, end.Offset, "young records are gone")
	require.Equal(t, 2, w.readable(repartitionTopic))
}

// readable is how many records a topic holds.
func (w *world) readable(topic string) (n int) {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(w.t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
	defer cancel()
	for ctx.Err() == nil {
		n += cl.PollFetches(ctx).NumRecords()
	}
	return n
}

// R6: a repartition topic is not made anew beside offsets that counted on what it held.
func TestADeletedRepartitionTopicIsNamed(t *testing.T) {
	w, dir := newRekeyed(t), t.TempDir()
	w.send(300)
	stop := w.runApp(rekeyed(), w.config(dir))
	w.updates()
	stop()
	_, err := kadm.NewClient(w.client).DeleteTopic(t.Context(), repartitionTopic)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.ErrorContains(t, engine.Run(ctx, rekeyed(), w.config(dir)), "repartition topic "+repartitionTopic+" does not exist, but group "+repartitionTopic+" has committed offset")
}
