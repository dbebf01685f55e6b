package deposits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

const (
	// lookTimeout is how long the brokers may take to answer.
	lookTimeout = 5 * time.Second
	// closeTimeout is how long leaving the group may take.
	closeTimeout = 5 * time.Second
	// A fetch, as it comes over the wire; unpacked it may be ten times as large.
	fetchBytes          = 512 << 10
	fetchPartitionBytes = 256 << 10
)

// identityInterval is how often the brokers are asked whether the topic is still the same; tests change it.
var identityInterval = 10 * time.Second

// consumer is one membership of the group. It ends with the first error.
type consumer struct {
	Config
	started func()

	asker  *kgo.Client // not in the group
	cl     *kgo.Client
	source Source
	fail   context.CancelCauseFunc
	claims claims
	decode *decoder

	deposits            []Deposit // reused
	wrote, looked, told time.Time // progress, identity, report
	stored              int       // deposits since told
	away                time.Time // when the brokers stopped to answer; zero while they do
}

// run consumes until ctx is done or something fails.
func (c *consumer) run(ctx context.Context) error {
	ctx, c.fail = context.WithCancelCause(ctx)
	defer c.fail(nil)
	err := c.consume(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return cause // what the loop says then follows from it
	}
	return err
}

func (c *consumer) consume(ctx context.Context) (err error) {
	if c.asker, err = c.Connection.Client(ctx); err != nil {
		return Unavailable(err)
	}
	defer c.asker.Close()
	if c.source, err = identify(ctx, c.asker, c.Topic, c.Group); errors.Is(err, kafka.ErrNoTopic) {
		return Unavailable(err)
	} else if err != nil {
		return err
	}
	c.decode = newDecoder(c.Skip)
	now := time.Now()
	c.wrote, c.looked, c.told = now, now, now

	alive, end := context.WithCancel(context.WithoutCancel(ctx)) // leaving the group outlives ctx
	defer end()
	if c.cl, err = c.Connection.Client(ctx, append(c.membership(), kgo.WithContext(alive))...); err != nil {
		return Unavailable(err)
	}
	defer func() {
		bound := time.AfterFunc(closeTimeout, end)
		defer bound.Stop()
		c.cl.CloseAllowingRebalance()
	}()
	for err == nil && ctx.Err() == nil {
		if err = c.turn(ctx); err == nil && c.claims.isSettled() {
			c.started()
		}
		c.cl.AllowRebalance()
	}
	return err
}

// membership are the options of the group's member. Partitions come and go only while the loop polls.
func (c *consumer) membership() []kgo.Opt {
	gone := func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
		if ps := parts[c.Topic]; len(ps) > 0 {
			c.claims.drop(ps)
			c.Logger.Info("partitions given up", "partitions", slices.Sorted(slices.Values(ps)))
		}
	}
	given := func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
		if len(parts[c.Topic]) == 0 {
			c.claims.settle()
		}
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(max(c.SessionTimeout/10, 100*time.Millisecond)),
		kgo.RebalanceTimeout(max(60*time.Second, 2*c.SessionTimeout)),
		kgo.OnPartitionsAssigned(given), kgo.AdjustFetchOffsetsFn(c.claim), kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone),
		kgo.AutoCommitMarks(), // for those who watch lag
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), // the progress goes past markers
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartitionBytes), kgo.FetchMaxWait(500 * time.Millisecond),
	}
	if c.Instance != "" {
		opts = append(opts, kgo.InstanceID(c.Instance))
	}
	return opts
}

// explain says what an error of a fetch means; nil for one that the client mends by itself.
func (c *consumer) explain(ctx context.Context, e kgo.FetchError) error {
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled):
		return nil
	case errors.Is(e.Err, kerr.FencedInstanceID):
		return fmt.Errorf("another process joined the group %s as --instance %s", c.Group, c.Instance)
	case errors.Is(e.Err, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("join group %s: this needs the right Read on the group: %w", c.Group, e.Err)
	case errors.Is(e.Err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("read topic %s: this needs the right Read on the topic: %w", c.Topic, e.Err)
	case errors.Is(e.Err, kerr.OffsetOutOfRange):
		return fmt.Errorf("topic %s partition %d: the offset to go on at is not there any more; see \"Deposits\" in OPERATING.md: %w", c.Topic, e.Partition, e.Err)
	}
	if err := c.look(ctx); err != nil {
		return err
	}
	return Unavailable(fmt.Errorf("read topic %s partition %d: %w", c.Topic, e.Partition, e.Err))
}

// look makes sure that the topic is still the one that the claims are for. Brokers that do not answer are no fault: the
// client goes on when they are back, and the log says so.
func (c *consumer) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	is, err := identify(ctx, c.asker, c.Topic, c.Group)
	switch {
	case errors.Is(err, kafka.ErrNoTopic):
		return Unavailable(err)
	case err != nil && c.away.IsZero():
		c.away = time.Now()
		c.Logger.Warn("waiting", "for", oneLine(err))
	case err == nil && is != c.source:
		return Foreign(0, c.source, is)
	case err == nil && !c.away.IsZero():
		c.Logger.Info("going on", "after", time.Since(c.away).Round(time.Millisecond).String())
		c.away = time.Time{}
	}
	return nil
}
