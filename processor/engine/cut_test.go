package engine_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/processor/engine"
)

// R4: a broker that leaves out records which are there is caught: the transaction is dropped, the violation counted, and
// what is read again is right.
func TestRecordsThatABrokerLeavesOutAreMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	w.send(400)
	stop := w.start(w.config(dir))
	w.updates()
	stop()
	w.send(300)
	adm := kadm.NewClient(w.client)
	listed, err := adm.ListEndOffsets(t.Context(), input)
	require.NoError(t, err)
	topics, err := adm.ListTopics(t.Context(), input)
	require.NoError(t, err)
	w.send(300)
	skipped := map[int32]bool{}
	w.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := r.(*kmsg.FetchRequest)
		if req.SessionEpoch < 0 {
			return nil, nil, false // the read that proves a gap
		}
		for ti := range req.Topics {
			if req.Topics[ti].TopicID != topics[input].ID {
				continue
			}
			for pi := range req.Topics[ti].Partitions {
				p := &req.Topics[ti].Partitions[pi]
				if at := listed[input][p.Partition].Offset; p.FetchOffset < at && !skipped[p.Partition] {
					skipped[p.Partition] = true
					p.FetchOffset = at
				}
			}
		}
		return nil, nil, false
	})
	var log logged
	cfg := w.config(dir)
	cfg.Logger, cfg.Monitor = slog.New(slog.NewTextHandler(&log, nil)), engine.NewMonitor()
	stop = w.start(cfg)
	require.Equal(t, w.want, w.updates())
	require.NotZero(t, cfg.Monitor.Status().Counts.Violations)
	require.Contains(t, log.String(), "although offset")
	stop()
}

// R6: a log that was cut below what was processed, and has grown past it again, is told by its leader epochs.
func TestALogThatWasCutAndHasGrownIsRefused(t *testing.T) {
	for name, running := range map[string]bool{"while it was stopped": false, "under a running process": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := t.TempDir()
			w.send(400)
			stop := w.start(w.config(dir))
			w.updates()
			if !running {
				stop()
			}
			w.cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(r kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				return cutAt(r.(*kmsg.OffsetForLeaderEpochRequest), 10), nil, true
			})
			if running { // a new leader
				for p := range int32(4) {
					require.NoError(t, w.cluster.MoveTopicPartition(input, p, 0))
				}
			} else {
				w.start(w.config(dir))
			}
			require.Eventually(t, func() bool { return w.err() != nil }, 30*time.Second, 10*time.Millisecond)
			for _, s := range []string{"the committed offset", input, "lies beyond 10, where the log that was read was cut", "the topic lost records that were processed", "reset"} {
				require.ErrorContains(t, w.err(), s)
			}
		})
	}
}

// cutAt answers that every epoch asked for ended at an offset.
func cutAt(req *kmsg.OffsetForLeaderEpochRequest, end int64) *kmsg.OffsetForLeaderEpochResponse {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, t := range req.Topics {
		to := kmsg.NewOffsetForLeaderEpochResponseTopic()
		to.Topic = t.Topic
		for _, p := range t.Partitions {
			po := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			po.Partition, po.LeaderEpoch, po.EndOffset = p.Partition, p.LeaderEpoch, end
			if p.LeaderEpoch < 0 {
				po.ErrorCode = kerr.InvalidRequest.Code
			}
			to.Partitions = append(to.Partitions, po)
		}
		resp.Topics = append(resp.Topics, to)
	}
	return resp
}
