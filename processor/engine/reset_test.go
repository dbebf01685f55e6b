package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/reset"
	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func window() *processor.App {
	return session.Window(session.Config{ID: "app", Input: input, Output: output})
}

var errStopped = errors.New("stopped by the test")

// R14: a reset may stop after any step and be repeated. Until it has ended run refuses; then everything is processed
// again from the start, over local state that was kept.
func TestResetStopsAnywhereAndIsRepeated(t *testing.T) {
	t.Parallel()
	for step := range reset.Steps {
		t.Run(reset.Step(step).String(), func(t *testing.T) {
			w := newWorld(t)
			ctx, dir := t.Context(), t.TempDir()
			w.send(1000)
			stop := w.start(w.config(dir))
			w.updates()
			_, err := engine.Reset(ctx, window(), w.config(dir), engine.ResetPoint{})
			require.ErrorIs(t, err, engine.ErrLive)
			stop()

			plan, err := engine.PlanReset(ctx, window(), w.config(dir), engine.ResetPoint{})
			require.NoError(t, err)
			require.EqualValues(t, 1000, plan.Records)
			require.Len(t, plan.TransactionalIDs, 2)
			_, err = engine.Reset(ctx, window(), w.config(dir).WithResetStep(func(s reset.Step) error {
				if int(s) == step {
					return errStopped
				}
				return nil
			}), engine.ResetPoint{})
			require.ErrorIs(t, err, errStopped)
			if s := reset.Step(step); s >= reset.Marked && s < reset.Done {
				short, cancel := context.WithTimeout(ctx, 20*time.Second)
				err = engine.Run(short, window(), w.config(dir))
				cancel()
				require.ErrorContains(t, err, "has begun and not ended")
				plan, err = engine.PlanReset(ctx, window(), w.config(dir), engine.ResetPoint{})
				require.NoError(t, err)
				require.True(t, plan.Resumes)
			}
			_, err = engine.Reset(ctx, window(), w.config(dir), engine.ResetPoint{})
			require.NoError(t, err)

			w.sent *= 2
			for id, updates := range w.want {
				w.want[id] = append(slices.Clone(updates), updates...)
			}
			stop = w.start(w.config(dir))
			require.Equal(t, w.want, w.updates())
			stop()
		})
	}
}

func TestResetToTheEndAndToOffsets(t *testing.T) {
	w := newWorld(t)
	ctx, dir := t.Context(), t.TempDir()
	w.send(400)
	stop := w.start(w.config(dir))
	w.updates()
	stop()
	plan, err := engine.Reset(ctx, window(), w.config(dir), engine.ResetPoint{End: true})
	require.NoError(t, err)
	require.Zero(t, plan.Records)
	for _, in := range plan.Inputs {
		require.Equal(t, in.End, in.To)
	}
	_, err = engine.PlanReset(ctx, window(), w.config(dir), engine.ResetPoint{Offsets: map[int32]int64{0: 0, 1: 1 << 40, 2: 0}})
	require.ErrorContains(t, err, "partition 1 needs an offset from 0")
	require.ErrorContains(t, err, "partition 3 needs an offset")
	_, err = engine.PlanReset(ctx, window(), w.config(dir), engine.ResetPoint{Offsets: map[int32]int64{7: 0}})
	require.ErrorContains(t, err, "partitions 0 to 3, not 7")
	plan, err = engine.PlanReset(ctx, window(), w.config(dir), engine.ResetPoint{Time: time.Now().Add(-time.Hour)})
	require.NoError(t, err)
	require.EqualValues(t, 400, plan.Records)
}

// F10: offsets moved by Kafka's own tool carry no mark: run refuses instead of summing twice.
func TestOffsetsMovedByAnotherToolAreRefused(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.send(400)
	stop := w.start(w.config(dir))
	w.updates()
	stop()
	offsets := kadm.Offsets{}
	for p := range int32(4) {
		offsets.Add(kadm.Offset{Topic: input, Partition: p, At: 0, LeaderEpoch: -1})
	}
	require.NoError(t, kadm.NewClient(w.client).CommitAllOffsets(t.Context(), "app", offsets))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.ErrorContains(t, engine.Run(ctx, window(), w.config(dir)), "carries no mark")
	_, err := engine.Reset(t.Context(), window(), w.config(dir), engine.ResetPoint{End: true})
	require.NoError(t, err)
	stop = w.start(w.config(dir))
	w.balances = map[string]int{}
	w.send(100)
	w.updates()
	stop()
}

// The transactional ids of an application whose name begins like this one's are spared.
func TestResetSparesOtherApplications(t *testing.T) {
	w := newWorld(t)
	w.send(10)
	stop := w.start(w.config(t.TempDir()))
	w.updates()
	stop()
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.TransactionalID("app-two-host-0"))
	require.NoError(t, err)
	defer cl.Close()
	_, _, err = cl.ProducerID(t.Context())
	require.NoError(t, err)
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: input, Partition: 0, At: 0, LeaderEpoch: -1})
	require.NoError(t, kadm.NewClient(w.client).CommitAllOffsets(t.Context(), "app-two", offsets))
	plan, err := engine.PlanReset(t.Context(), window(), w.config(t.TempDir()), engine.ResetPoint{})
	require.NoError(t, err)
	require.Equal(t, []string{"app-two-host-0"}, plan.Spared)
	require.NotContains(t, plan.TransactionalIDs, "app-two-host-0")
}
