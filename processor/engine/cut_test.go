package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
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

// process sends n transactions, and runs the window until their updates are there.
func (w *world) process(n int, cfg engine.Config) {
	w.t.Helper()
	w.send(n)
	stop := w.start(cfg)
	w.updates()
	stop()
}

// commit sets the group's offsets, once it has no member.
func (w *world) commit(offsets kadm.Offsets) {
	w.t.Helper()
	adm := kadm.NewClient(w.client)
	require.Eventually(w.t, func() bool { return adm.CommitAllOffsets(w.t.Context(), "app", offsets) == nil }, 20*time.Second, 100*time.Millisecond)
}

// refused runs the window, which must end by itself, with an error that says this.
func (w *world) refused(cfg engine.Config, says ...string) {
	w.t.Helper()
	w.failed.Store(nil)
	w.start(cfg)
	require.Eventually(w.t, func() bool { return w.err() != nil }, 30*time.Second, 10*time.Millisecond)
	for _, s := range says {
		require.ErrorContains(w.t, w.err(), s)
	}
}

// R6: a changelog that was cut is refused by a host with local state and by one without.
func TestACutChangelogIsRefused(t *testing.T) {
	for name, kept := range map[string]bool{"with local state": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := t.TempDir()
			w.process(400, w.config(dir))
			w.cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				req := r.(*kmsg.ListOffsetsRequest)
				for ti := range req.Topics {
					for pi := range req.Topics[ti].Partitions {
						if req.Topics[ti].Topic == changelogTopic {
							req.Topics[ti].Partitions[pi].Timestamp = -2 // what is asked for is the start
						}
					}
				}
				return nil, nil, false
			})
			if !kept {
				dir = t.TempDir()
			}
			w.refused(w.config(dir), "changelog", "the changelog lost records", "reset")
		})
	}
}

// R6: a changelog that is cut under a running process, and grows past the cut by what that writes, is no longer taken for
// whole by anybody, until a reset.
func TestAChangelogThatIsCutAndGrowsIsRefused(t *testing.T) {
	w := newWorldOf(t, 1) // others would go on until the process ends
	dir := t.TempDir()
	w.send(400)
	w.start(w.config(dir))
	w.updates()
	before := map[string][]string{}
	for id, updates := range w.want {
		before[id] = slices.Clone(updates)
	}
	mend := w.cutChangelog()
	w.send(100)
	require.Eventually(t, func() bool { return w.err() != nil }, 30*time.Second, 10*time.Millisecond)
	require.ErrorContains(t, w.err(), "but a record was written at 0: the topic lost records")
	mend()
	for _, dir := range []string{dir, t.TempDir()} {
		w.refused(w.config(dir), "but a record was written at 0: the topic lost records", "reset")
	}
	w.failed.Store(nil)
	_, err := engine.Reset(t.Context(), window(), w.config(dir), engine.ResetPoint{})
	require.NoError(t, err)
	w.sent += 400 // whose updates stand there already
	for id, updates := range w.want {
		w.want[id] = append(before[id], updates...)
	}
	stop := w.start(w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
}

// cutChangelog answers whoever writes to the changelog that it stands at its start, until mend is called.
func (w *world) cutChangelog() (mend func()) {
	w.t.Helper()
	topics, err := kadm.NewClient(w.client).ListTopics(w.t.Context(), changelogTopic)
	require.NoError(w.t, err)
	var mended atomic.Bool
	w.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if mended.Load() || !slices.ContainsFunc(req.Topics, func(to kmsg.ProduceRequestTopic) bool { return to.TopicID == topics[changelogTopic].ID }) {
			return nil, nil, false
		}
		return atStart(req), nil, true
	})
	return func() { mended.Store(true) }
}

// R6: a changelog that was cut by so little that ends of transactions have filled it since is told by what stands where its
// last record was.
func TestAChangelogThatWasCutAndFilledIsRefused(t *testing.T) {
	for name, kept := range map[string]bool{"with local state": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOf(t, 1)
			dir := t.TempDir()
			w.process(400, w.config(dir))
			adm := kadm.NewClient(w.client)
			ends, err := adm.ListEndOffsets(t.Context(), changelogTopic)
			require.NoError(t, err)
			end := ends[changelogTopic][0].Offset // behind the last transaction's end
			committed, err := adm.FetchOffsets(t.Context(), "app")
			require.NoError(t, err)
			o, ok := committed.Lookup(input, 0)
			require.True(t, ok)
			require.Contains(t, o.Metadata, fmt.Sprintf(`"ends":[%d],"last":[%d]`, end-1, end-2))
			o.Metadata = strings.Replace(o.Metadata, fmt.Sprintf(`"last":[%d]`, end-2), fmt.Sprintf(`"last":[%d]`, end-1), 1)
			var list kadm.Offsets
			list.Add(o.Offset)
			w.commit(list)
			if !kept {
				dir = t.TempDir()
			}
			w.refused(w.config(dir), fmt.Sprintf("at offset %d, where none of a committed transaction stands now: the changelog lost records", end-1), "reset")
		})
	}
}

// R6: a cut that the last commit of a stop finds is not forgotten.
func TestACutThatIsFoundAtAReleaseIsRefused(t *testing.T) {
	w := newWorldOf(t, 1)
	cfg := w.config(t.TempDir())
	w.process(400, cfg)
	mend := w.cutChangelog()
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cfg.Workers, cfg.CommitInterval = 1, 5*time.Second
	cfg = cfg.WithStep(func(s worker.Step) error {
		if s == worker.Produced {
			once.Do(func() { close(reached); <-goOn })
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx, window(), cfg) }()
	w.send(50)
	<-reached
	cancel()
	time.Sleep(500 * time.Millisecond) // it stops, and releases what is in the midst of a transaction
	close(goOn)
	require.ErrorContains(t, <-ended, "the topic lost records")
	mend()
	w.refused(w.config(t.TempDir()), "the topic lost records")
}

// R6: a standby's copy, whose position is the changelog's end and whose offsets are old, hides no offset that went back.
func TestOffsetsThatWentBackUnderAStandbyAreRefused(t *testing.T) {
	w := newWorldOf(t, 1)
	owner, standby := w.config(t.TempDir()), w.config(t.TempDir())
	standby.Standby, standby.Monitor = 1, engine.NewMonitor()
	w.send(400)
	stopOwner := w.start(owner)
	w.updates()
	adm := kadm.NewClient(w.client)
	before, err := adm.FetchOffsets(t.Context(), "app")
	require.NoError(t, err)
	stopStandby := w.start(standby)
	time.Sleep(2 * time.Second) // it follows
	w.send(400)
	w.updates()
	time.Sleep(2 * time.Second)
	stopStandby()
	stopOwner()
	w.commit(before.Offsets())
	w.refused(standby, "went back", "summed twice", "reset")
}

// R6: committed offsets that went back, with their marks, are refused: state and offset no longer fit.
func TestOffsetsThatWentBackAreRefused(t *testing.T) {
	for name, kept := range map[string]bool{"with local state": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := t.TempDir()
			w.process(400, w.config(dir))
			adm := kadm.NewClient(w.client)
			before, err := adm.FetchOffsets(t.Context(), "app")
			require.NoError(t, err)
			w.process(400, w.config(dir))
			w.commit(before.Offsets())
			says := "local state of partition"
			if !kept {
				dir, says = t.TempDir(), "but the committed offsets know of none from"
			}
			w.refused(w.config(dir), says, "went back", "summed twice", "reset")
		})
	}
}

// At least once, a changelog may be ahead of the offsets, after a crash: that is no mismatch, then or under exactly-once later.
func TestAtLeastOnceMayBeAheadOfItsOffsets(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	loose := w.config(dir)
	loose.Guarantee = engine.AtLeastOnce
	w.process(400, loose)
	adm := kadm.NewClient(w.client)
	before, err := adm.FetchOffsets(t.Context(), "app")
	require.NoError(t, err)
	w.process(100, loose)
	w.commit(before.Offsets())
	w.sent += 100      // handled again
	for i := range 4 { // each commits its marks; the last one believes what they say
		cfg := w.config(t.TempDir())
		if i == 0 {
			cfg.Guarantee = engine.AtLeastOnce
		}
		stop := w.start(cfg)
		w.updates()
		w.send(50)
		w.updates()
		stop()
	}
}

// atStart answers that what was produced stands at the start of each partition.
func atStart(req *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		to := kmsg.NewProduceResponseTopic()
		to.Topic, to.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			po := kmsg.NewProduceResponseTopicPartition()
			po.Partition = p.Partition
			to.Partitions = append(to.Partitions, po)
		}
		resp.Topics = append(resp.Topics, to)
	}
	return resp
}
