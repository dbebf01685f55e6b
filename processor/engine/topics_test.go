package engine_test

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const changelogTopic = "app-total-changelog"

// R6, R10, F13, F18: what was done to the topics between two runs is a clear error, never a wrong sum.
func TestTopicsThatWereBrokenAreNamed(t *testing.T) {
	recreate := func(topic string) func(*world) error {
		return func(w *world) error {
			if err := w.cluster.DeleteTopic(topic); err != nil {
				return err
			}
			return w.cluster.CreateTopic(topic, 4, map[string]string{"cleanup.policy": map[bool]string{true: "compact", false: "delete"}[topic == changelogTopic]})
		}
	}
	for _, c := range []struct {
		name string
		do   func(*world) error
		says []string
	}{
		// The group's offsets of a topic are deleted with it.
		{"input recreated", recreate(input), []string{"no committed offset", input, changelogTopic, "reset"}},
		{"input deleted", func(w *world) error { return w.cluster.DeleteTopic(input) }, []string{input, "does not exist", "--create-topics"}},
		{"changelog recreated", recreate(changelogTopic), []string{"changelog topic id", changelogTopic, "reset"}},
		{"changelog deleted", func(w *world) error { return w.cluster.DeleteTopic(changelogTopic) }, []string{changelogTopic, "does not exist", "committed offset", "reset"}},
		{"changelog's policy", func(w *world) error {
			return alter(w, changelogTopic, "cleanup.policy", "delete")
		}, []string{changelogTopic, `"delete"`, `"compact"`}},
		{"changelog's policy is both", func(w *world) error {
			return alter(w, changelogTopic, "cleanup.policy", "compact,delete")
		}, []string{changelogTopic, `"compact,delete"`}},
		{"offsets expired", func(w *world) error {
			_, err := kadm.NewClient(w.client).DeleteGroups(w.t.Context(), "app")
			return err
		}, []string{"no committed offset", "expired", changelogTopic, "reset"}},
		// As good as a log that was cut below what is committed.
		{"input cut", func(w *world) error {
			adm := kadm.NewClient(w.client)
			offsets, err := adm.FetchOffsets(w.t.Context(), "app")
			if err != nil {
				return err
			}
			ahead := kadm.Offsets{}
			offsets.Each(func(o kadm.OffsetResponse) {
				o.At += 1000
				ahead.Add(o.Offset)
			})
			return adm.CommitAllOffsets(w.t.Context(), "app", ahead)
		}, []string{"lies beyond its end", "the topic lost records that were processed", input, "reset"}},
		{"input partitions added", func(w *world) error {
			_, err := kadm.NewClient(w.client).UpdatePartitions(w.t.Context(), 6, input)
			return err
		}, []string{changelogTopic, "4 partitions", "6"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, wipe := range []bool{false, true} {
				w := newWorld(t)
				dir := t.TempDir()
				w.send(500)
				stop := w.start(w.config(dir))
				w.updates()
				stop()
				require.NoError(t, c.do(w))
				if wipe {
					dir = t.TempDir()
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				err := engine.Run(ctx, window(), w.config(dir))
				cancel()
				for _, s := range c.says {
					require.ErrorContains(t, err, s)
				}
			}
		})
	}
}

func alter(w *world, topic, key, value string) error {
	_, err := kadm.NewClient(w.client).AlterTopicConfigs(w.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
	return err
}

// R10: partitions added while running are named, and the others go on.
func TestPartitionsAddedWhileRunning(t *testing.T) {
	w := newWorld(t)
	var log logged
	cfg := w.config(t.TempDir())
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	stop := w.start(cfg)
	w.send(500)
	w.updates()
	old, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer old.Close()
	_, err = kadm.NewClient(w.client).UpdatePartitions(t.Context(), 5, input)
	require.NoError(t, err)
	require.NoError(t, old.ProduceSync(t.Context(), &kgo.Record{Topic: input, Partition: 0, Key: []byte("x"), Value: []byte(`{"sessionId":"x","winAmount":7}`)}).FirstErr())
	w.want["x"], w.sent = []string{`{"sessionId":"x","currentBalance":7,"depositCurrentBalance":false}`}, w.sent+1
	require.Equal(t, w.want, w.updates())
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.ErrorContains(t, engine.Run(ctx, window(), cfg), "5", "a restart names it")
}

// R6: an input that is deleted under a running process is named, and one that is recreated ends it with a clear error.
func TestTheInputGoesUnderARunningProcess(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(map[bool]string{false: "deleted", true: "recreated"}[again], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var log logged
			cfg := w.config(t.TempDir())
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- engine.Run(ctx, window(), cfg) }()
			w.send(500)
			w.updates()
			require.NoError(t, w.cluster.DeleteTopic(input))
			if again {
				require.NoError(t, w.cluster.CreateTopic(input, 4, nil))
				err := <-ended
				cancel()
				for _, s := range []string{input, changelogTopic, "reset"} {
					require.ErrorContains(t, err, s)
				}
				return
			}
			require.Eventually(t, func() bool { return strings.Contains(log.String(), "read topic "+input) }, 40*time.Second, 10*time.Millisecond, "silence: %s", &log)
			cancel()
			require.NoError(t, <-ended)
		})
	}
}

// F13: a changelog that begins above the local position means a full restore, which is said.
func TestTheChangelogBeginsAboveThePosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir, older := t.TempDir(), t.TempDir()
	w.send(500)
	stop := w.start(w.config(dir))
	w.updates()
	stop()
	require.NoError(t, os.CopyFS(older, os.DirFS(dir)))
	ends := map[int32]int64{}
	listed, err := kadm.NewClient(w.client).ListEndOffsets(t.Context(), changelogTopic)
	require.NoError(t, err)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	for range 3 {
		w.send(2000)
		stop = w.start(w.config(dir))
		w.updates()
		stop()
	}
	for p, end := range ends {
		require.NoError(t, w.cluster.DeleteRecords(changelogTopic, p, end+1))
	}
	var log logged
	cfg := w.config(older)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w.send(500)
	stop = w.start(cfg)
	require.Equal(t, w.want, w.updates())
	stop()
	require.Contains(t, log.String(), "the changelog begins above its position")
}

// R6: a state directory that came from another cluster is not believed.
func TestAStateDirectoryOfAnotherClusterIsWiped(t *testing.T) {
	one := newWorld(t)
	dir := t.TempDir()
	one.send(500)
	stop := one.start(one.config(dir))
	one.updates()
	stop()
	two := newWorld(t)
	two.send(500)
	var log logged
	cfg := two.config(dir)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	stop = two.start(cfg)
	require.Equal(t, two.want, two.updates())
	stop()
	require.Contains(t, log.String(), "local state is wiped")
}

// F09: a foreign transaction that is open on the input holds its partition alone, and is waited for.
func TestAForeignTransactionHoldsTheInput(t *testing.T) {
	w := newWorld(t)
	foreign := w.foreign(input)
	w.send(500)
	stop := w.start(w.config(t.TempDir()))
	time.Sleep(300 * time.Millisecond)
	require.NoError(t, foreign.EndTransaction(t.Context(), kgo.TryAbort))
	require.Equal(t, w.want, w.updates())
	stop()
}

// foreign opens a transaction on partition 0 of a topic.
func (w *world) foreign(topic string) *kgo.Client {
	w.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.TransactionalID("foreign"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(w.t, err)
	w.t.Cleanup(cl.Close)
	require.NoError(w.t, cl.BeginTransaction())
	require.NoError(w.t, cl.ProduceSync(w.t.Context(), &kgo.Record{Topic: topic, Key: []byte("s1"), Value: []byte(`{"sessionId":"s1","winAmount":1000000}`)}).FirstErr())
	return cl
}

// R5, R7, F02: a restore that a foreign transaction holds for longer than tombstones live starts over, and says both.
func TestARestoreThatHangsTooLongStartsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.cluster.CreateTopic(changelogTopic, 4, map[string]string{"cleanup.policy": "compact", "delete.retention.ms": "8000"}))
	w.send(1000)
	stop := w.start(w.config(t.TempDir()))
	w.updates()
	stop()
	foreign := w.foreign(changelogTopic)
	var log logged
	cfg := w.config(t.TempDir())
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w.send(1000)
	stop = w.start(cfg)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "held by an open transaction") }, 30*time.Second, 50*time.Millisecond)
	require.NoError(t, foreign.EndTransaction(t.Context(), kgo.TryAbort))
	require.Equal(t, w.want, w.updates(), "%s", &log)
	stop()
	require.Contains(t, log.String(), "starts over")
}

// A process that is held up between its look at the topics and its look at the offsets, while another one makes the
// changelog and commits, has lost nothing: it goes on.
func TestAStartThatIsHeldUpFindsWhatAnotherMade(t *testing.T) {
	w := newWorld(t)
	asked, release := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	w.cluster.ControlKey(int16(kmsg.OffsetFetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if first.CompareAndSwap(false, true) {
			w.cluster.SleepControl(func() {
				close(asked)
				<-release
			})
		}
		return nil, nil, false
	})
	late := w.config(t.TempDir())
	stopLate := w.start(late)
	<-asked
	w.send(500)
	stop := w.start(w.config(t.TempDir()))
	require.Equal(t, w.want, w.updates())
	stop()
	close(release)
	w.send(500)
	require.Equal(t, w.want, w.updates())
	stopLate()
}
