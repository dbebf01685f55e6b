package engine_test

import (
	"context"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/reset"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const repartitionTopic = "app-transactions-repartition"

func rekeyed() *processor.App {
	return session.Window(session.Config{ID: "app", Input: input, Output: output, Repartition: true})
}

// newRekeyed is a world whose input has keys of its own. Those of one session are the same, which keeps its order.
func newRekeyed(t *testing.T) *world {
	w := newWorld(t)
	w.keyOf = func(id string) []byte { return []byte("shop-" + id[len(id)-1:]) }
	return w
}

// R3, R4 over both ways: an error at any step of a commit, of either, loses and doubles nothing.
func TestARekeyedInputIsExactlyOnce(t *testing.T) {
	t.Parallel()
	for step := range worker.CommitSteps {
		t.Run(worker.Step(step).String(), func(t *testing.T) {
			newRekeyed(t).exactOverErrors(rekeyed(), worker.Step(step))
		})
	}
}

// A process that is killed at any step of a commit, of either way, goes on exactly.
func TestKilledWhileRekeying(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	w := newRekeyed(t)
	dir := t.TempDir()
	for step := range worker.CommitSteps {
		if worker.Step(step) == worker.Frozen {
			continue // a batch leaves after seconds only
		}
		for count := 1; count <= 5; count += 2 {
			w.send(300)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envBrokers+"="+strings.Join(w.cluster.ListenAddrs(), ","), envDir+"="+dir,
				envStep+"="+strconv.Itoa(step), envCount+"="+strconv.Itoa(count), envRekey+"=1")
			feed := w.feed(50, 10*time.Millisecond)
			out, err := cmd.CombinedOutput()
			feed()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "output %s", out)
			require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "step %v: %s", worker.Step(step), out)
		}
	}
	stop := w.runApp(rekeyed(), w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
}

// The topic between has the input's partitions, the records in it the session's key, and the input's headers and time.
func TestARekeyedRecordKeepsWhatItHad(t *testing.T) {
	w := newWorld(t)
	at := time.UnixMilli(time.Now().UnixMilli() - 5000)
	require.NoError(t, w.client.ProduceSync(t.Context(), &kgo.Record{Topic: input, Value: []byte(`{"sessionId":"s1","winAmount":1}`), Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("7")}}}).FirstErr())
	cfg := w.config(t.TempDir())
	cfg.Monitor = engine.NewMonitor()
	stop := w.runApp(rekeyed(), cfg)
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.ConsumeTopics(repartitionTopic))
	require.NoError(t, err)
	defer cl.Close()
	var r *kgo.Record
	require.Eventually(t, func() bool {
		cl.PollFetches(t.Context()).EachRecord(func(got *kgo.Record) { r = got })
		return r != nil
	}, 20*time.Second, time.Millisecond)
	require.Equal(t, "s1", string(r.Key))
	require.Equal(t, `{"sessionId":"s1","winAmount":1}`, string(r.Value))
	require.Equal(t, []kgo.RecordHeader{{Key: "trace", Value: []byte("7")}}, r.Headers)
	require.True(t, at.Equal(r.Timestamp), r.Timestamp)

	require.Eventually(t, func() bool {
		s := cfg.Monitor.Status()
		stage := s.Stages[repartitionTopic]
		return s.Ready && s.Counts.Records == 1 && stage.Ready && stage.Counts.Records == 1 && len(stage.Partitions) == 4
	}, 20*time.Second, 10*time.Millisecond)
	answer := httptest.NewRecorder()
	cfg.Monitor.Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	require.Contains(t, answer.Body.String(), "\npenstock_records_total 1\n")
	require.Contains(t, answer.Body.String(), `penstock_records_total{stage="`+repartitionTopic+`"} 1`)
	require.Equal(t, 1, strings.Count(answer.Body.String(), "\ngo_goroutines "))
	stop()
}

// R14: a reset that stops after any of its steps, those of the stage too, is repeated, and all is processed again.
func TestResetOfARekeyedInput(t *testing.T) {
	t.Parallel()
	for stopAt := 1; ; stopAt++ {
		w := newRekeyed(t)
		ctx, dir := t.Context(), t.TempDir()
		w.send(500)
		stop := w.runApp(rekeyed(), w.config(dir))
		w.updates()
		_, err := engine.Reset(ctx, rekeyed(), w.config(dir), engine.ResetPoint{})
		require.ErrorIs(t, err, engine.ErrLive)
		stop()
		plan, err := engine.PlanReset(ctx, rekeyed(), w.config(dir), engine.ResetPoint{})
		require.NoError(t, err)
		require.EqualValues(t, 500, plan.Records)
		calls := 0
		_, err = engine.Reset(ctx, rekeyed(), w.config(dir).WithResetStep(func(reset.Step) error {
			if calls++; calls == stopAt {
				return errStopped
			}
			return nil
		}), engine.ResetPoint{})
		finished := err == nil
		if !finished {
			require.ErrorIs(t, err, errStopped)
			_, err = engine.Reset(ctx, rekeyed(), w.config(dir), engine.ResetPoint{})
			require.NoError(t, err)
		}
		w.sent *= 2
		for id, updates := range w.want {
			w.want[id] = append(slices.Clone(updates), updates...)
		}
		stop = w.runApp(rekeyed(), w.config(dir))
		require.Equal(t, w.want, w.updates(), "stopped at call %d", stopAt)
		stop()
		if finished {
			require.Greater(t, stopAt, 10)
			return
		}
	}
}

// An application that has state is not turned into one with a rekeyed input, nor back: it would sum twice. A reset lets it.
func TestRekeyingIsNotTurnedOnByItself(t *testing.T) {
	refused := func(w *world, app *processor.App, dir string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := engine.Run(ctx, app, w.config(dir))
		require.ErrorContains(t, err, "no committed offset for topic")
		require.ErrorContains(t, err, "penstock reset")
	}
	w, dir := newWorld(t), t.TempDir()
	w.send(300)
	stop := w.start(w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
	refused(w, rekeyed(), dir)
	_, err := engine.Reset(t.Context(), rekeyed(), w.config(dir), engine.ResetPoint{End: true})
	require.NoError(t, err)
	clear(w.balances)
	w.send(300)
	stop = w.runApp(rekeyed(), w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()

	w, dir = newWorld(t), t.TempDir()
	w.send(300)
	stop = w.runApp(rekeyed(), w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
	refused(w, window(), dir)
}

// The input may get more partitions: sessions stay where they are, in the topic between.
func TestARekeyedInputMayGetMorePartitions(t *testing.T) {
	w, dir := newRekeyed(t), t.TempDir()
	w.send(300)
	stop := w.runApp(rekeyed(), w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
	_, err := kadm.NewClient(w.client).UpdatePartitions(t.Context(), 6, input, repartitionTopic+"-dead-letters")
	require.NoError(t, err)
	w.client.ForceMetadataRefresh()
	require.Eventually(t, func() bool {
		r := w.client.ProduceSync(t.Context(), &kgo.Record{Topic: input, Key: []byte(strconv.Itoa(int(time.Now().UnixNano()))), Value: []byte("no transaction")})
		got, err := r.First()
		return err == nil && got.Partition >= 4
	}, 20*time.Second, time.Millisecond, "the client knows no new partition")
	w.send(600)
	stop = w.runApp(rekeyed(), w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
}
