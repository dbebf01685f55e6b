package deposits

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Bounds of the loop.
const (
	// batchRecords is the most that one write covers; what the topic holds under load fills it.
	batchRecords = 20_000
	// tick is how long a poll waits, so that what is due by time is done.
	tick = time.Second
	// progressInterval is how often progress alone is stored, where no session closes.
	progressInterval = 5 * time.Second
	// reportInterval is how often the log says what was stored.
	reportInterval = 10 * time.Second
	// lookTimeout is how long the brokers may take to answer.
	lookTimeout = 5 * time.Second
	// closeTimeout is how long leaving the group may take.
	closeTimeout = 5 * time.Second
	// A fetch, as it comes over the wire; unpacked it may be ten times as large.
	fetchBytes          = 8 << 20
	fetchPartitionBytes = 1 << 20
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
	var err error
	if c.asker, err = c.Connection.Client(ctx); err != nil {
		return Unavailable(err)
	}
	defer c.asker.Close()
	c.source, err = identify(ctx, c.asker, c.Topic, c.Group)
	if errors.Is(err, kafka.ErrNoTopic) {
		return Unavailable(err)
	}
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	c.fail, c.decode = fail, newDecoder(c.Skip)
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
		err = c.turn(ctx)
		if err == nil && c.claims.isSettled() {
			c.started()
		}
		c.cl.AllowRebalance()
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
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

// turn polls once and stores what came.
func (c *consumer) turn(ctx context.Context) error {
	poll, cancel := context.WithTimeout(ctx, tick)
	fetches := c.cl.PollRecords(poll, batchRecords)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range fetches.Errors() {
		if err := c.explain(ctx, e); err != nil {
			return err
		}
	}
	fault := c.read(fetches)
	if fault != nil {
		c.wrote = time.Time{} // what came before it is stored
	}
	if err := c.write(ctx); err != nil || fault != nil {
		return errors.Join(fault, err)
	}
	if time.Since(c.looked) < identityInterval {
		return nil
	}
	c.looked = time.Now()
	return c.look(ctx)
}

// read decodes the records of a poll and moves the positions, up to a record at fault.
func (c *consumer) read(fetches kgo.Fetches) error {
	c.deposits = c.deposits[:0]
	var fault error
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		at := c.claims.get(f.Partition)
		if at == nil || fault != nil {
			return
		}
		at.end = f.LastStableOffset
		for _, r := range f.Records {
			if r.Offset < at.read {
				fault = Unavailable(fmt.Errorf("topic %s partition %d: offset %d came after %d", c.Topic, f.Partition, r.Offset, at.read-1))
				return
			}
			if !r.Attrs.IsControl() {
				d, closing, err := c.decode.read(r)
				if err != nil {
					fault = err
					return
				}
				if closing {
					c.deposits = append(c.deposits, d)
				}
			}
			at.read = r.Offset + 1
		}
	})
	return fault
}

// write stores the deposits of a poll at once, and progress without any from time to time.
func (c *consumer) write(ctx context.Context) error {
	if len(c.deposits) == 0 && time.Since(c.wrote) < progressInterval {
		return nil
	}
	c.wrote = time.Now()
	b := &Batch{Source: c.source, Owner: c.Owner, Deposits: c.deposits, Progress: map[int32]Progress{}}
	c.claims.each(func(partition int32, p *position) {
		if p.read > p.stored {
			b.Progress[partition] = Progress{First: p.stored, Next: p.read, Epoch: p.epoch}
		}
	})
	if len(b.Progress) > 0 {
		if err := c.Sink.Write(ctx, b); err != nil {
			return err
		}
		c.note(b)
	}
	c.report()
	return nil
}

// note keeps what is stored.
func (c *consumer) note(b *Batch) {
	marks := map[int32]kgo.EpochOffset{}
	for partition, p := range b.Progress {
		marks[partition] = kgo.EpochOffset{Epoch: -1, Offset: p.Next}
		if at := c.claims.get(partition); at != nil && at.epoch == p.Epoch {
			at.stored = p.Next
		}
	}
	c.cl.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{c.Topic: marks})
	c.stored += len(b.Deposits)
}

func (c *consumer) report() {
	passed := time.Since(c.told)
	if passed < reportInterval || c.stored == 0 {
		return
	}
	var behind int64
	c.claims.each(func(_ int32, p *position) { behind += max(0, p.end-p.stored) })
	c.Logger.Info("stored", "deposits", c.stored, "per_second", int(float64(c.stored)/passed.Seconds()), "records_behind", behind)
	c.told, c.stored = time.Now(), 0
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

func sorted(claimed map[int32]Claim) []int32 { return slices.Sorted(maps.Keys(claimed)) }
