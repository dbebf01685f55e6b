package engine_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// usurp joins the application's group under an instance id, and goes without a word.
func (w *world) usurp(instance string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	joined := make(chan struct{})
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.ConsumerGroup("app"), kgo.InstanceID(instance),
		kgo.ConsumeTopics(input), kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { close(joined) }))
	require.NoError(w.t, err)
	cl.PauseFetchTopics(input)
	select {
	case <-joined:
	case <-ctx.Done():
		w.t.Fatal("the group lets nobody in")
	}
	cl.Close()
}

// R13: a member that its coordinator takes for another's, as after a crash that lost its last join, joins again; the second
// time within a minute it stops, since another process uses its instance id.
func TestAFencedMemberJoinsAgainOnce(t *testing.T) {
	w := newWorld(t)
	cfg := w.config(t.TempDir())
	cfg.Instance = "the-one"
	w.start(cfg)
	w.send(500)
	require.Equal(t, w.want, w.updates())
	w.usurp("the-one")
	w.send(500)
	require.Equal(t, w.want, w.updates(), "the engine went on")
	w.usurp("the-one")
	require.Eventually(t, func() bool { return w.err() != nil }, 30*time.Second, 10*time.Millisecond)
	require.True(t, errors.Is(w.err(), broker.ErrInstanceFenced), "%v", w.err())
	require.ErrorContains(t, w.err(), "the-one")
}

// A group that can never be joined is named at once, not waited for.
func TestAGroupThatCannotBeJoinedIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		others  kgo.GroupBalancer // of a consumer that is in the group already
		session time.Duration
		says    string
	}{
		"session time-out":          {nil, 500 * time.Millisecond, "session timeout 500ms"},
		"consumers of another kind": {kgo.RangeBalancer(), 10 * time.Second, "another kind"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.others != nil {
				joined := make(chan struct{})
				cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.ConsumerGroup("app"), kgo.ConsumeTopics(input), kgo.Balancers(c.others),
					kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { close(joined) }))
				require.NoError(t, err)
				t.Cleanup(cl.Close)
				<-joined
			}
			cfg := w.config(t.TempDir())
			cfg.SessionTimeout, cfg.TransactionTimeout = c.session, c.session
			w.start(cfg)
			require.Eventually(t, func() bool { return w.err() != nil }, 10*time.Second, 10*time.Millisecond)
			require.ErrorContains(t, w.err(), c.says)
		})
	}
}

// A process that lost its partitions while it was held up in taking them over, between its look at the committed offsets and
// its look at the changelog, finds what another one made meanwhile. It takes that for no loss: it goes on as a member.
func TestAZombieInARestoreBelievesNothing(t *testing.T) {
	w := newWorld(t)
	held, release, wake := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	w.cluster.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		ofChangelog := slices.ContainsFunc(req.(*kmsg.ListOffsetsRequest).Topics, func(t kmsg.ListOffsetsRequestTopic) bool { return t.Topic == changelogTopic })
		if ofChangelog && first.CompareAndSwap(false, true) {
			w.cluster.SleepControl(func() { close(held); <-release })
		}
		return nil, nil, false
	})
	w.cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		if id := req.(*kmsg.HeartbeatRequest).InstanceID; id != nil && *id == "zombie" {
			w.cluster.SleepControl(func() { <-wake })
		}
		return nil, nil, false
	})
	zombie := w.config(t.TempDir())
	zombie.Instance, zombie.SessionTimeout, zombie.TransactionTimeout = "zombie", 2*time.Second, 2*time.Second
	stopZombie := w.start(zombie)
	<-held
	w.send(500)
	stop := w.start(w.config(t.TempDir()))
	require.Equal(t, w.want, w.updates())
	close(release)
	require.Never(t, func() bool { return w.err() != nil }, 500*time.Millisecond, 10*time.Millisecond)
	close(wake)
	w.send(500)
	require.Equal(t, w.want, w.updates())
	stop()
	w.send(500)
	require.Equal(t, w.want, w.updates(), "the zombie lives")
	stopZombie()
}
