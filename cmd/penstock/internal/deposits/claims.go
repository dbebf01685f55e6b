package deposits

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// position is how far a claimed partition is.
type position struct {
	stored, read int64 // offsets of the next record. Invariant: stored <= read
	end          int64 // last stable offset, as far as is known
	epoch        int64
}

// claims are the partitions that this client may write. The client's own goroutine adds and removes them; the loop alone
// looks into a position.
type claims struct {
	mu      sync.Mutex
	held    map[int32]*position
	settled bool // the group has said what is ours, and the store agreed
}

func (c *claims) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
}

func (c *claims) isSettled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.settled
}

func (c *claims) get(partition int32) *position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[partition]
}

func (c *claims) add(claimed map[int32]Claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.settled = true
	if c.held == nil {
		c.held = map[int32]*position{}
	}
	for p, claim := range claimed {
		c.held[p] = &position{stored: claim.Next, read: claim.Next, epoch: claim.Epoch}
	}
}

func (c *claims) drop(partitions []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range partitions {
		delete(c.held, p)
	}
}

// each calls fn for all partitions, the lock held.
func (c *claims) each(fn func(partition int32, p *position)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for partition, p := range c.held {
		fn(partition, p)
	}
}

// claim is called by the client with partitions that the group gave it, before it reads them: the store says where. The
// group's own offsets do not count.
func (c *consumer) claim(ctx context.Context, given map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	at, err := c.locate(ctx, given[c.Topic])
	if err != nil && ctx.Err() == nil { // else the group has changed, and calls again
		c.fail(err)
	}
	return map[string]map[int32]kgo.Offset{c.Topic: at}, err
}

func (c *consumer) locate(ctx context.Context, given map[int32]kgo.Offset) (map[int32]kgo.Offset, error) {
	starts, err := kafka.Starts(ctx, c.asker, c.Topic)
	if err != nil {
		return nil, Unavailable(err)
	}
	ends, err := kafka.Written(ctx, c.asker, c.Topic)
	if err != nil {
		return nil, Unavailable(err)
	}
	bounds := starts
	if c.FromEnd {
		if bounds, err = kafka.StableEnds(ctx, c.asker, c.Topic); err != nil {
			return nil, Unavailable(err)
		}
	}
	begin := map[int32]int64{}
	for p := range given {
		begin[p] = bounds[p]
	}
	claimed, err := c.Sink.Claim(ctx, c.source, c.Owner, begin)
	if err != nil {
		return nil, err
	}
	at := map[int32]kgo.Offset{}
	for p, claim := range claimed {
		if err := within(c.Topic, p, claim.Next, starts[p], ends[p]); err != nil {
			return nil, err
		}
		at[p] = kgo.NewOffset().At(claim.Next)
	}
	c.claims.add(claimed)
	c.Logger.Info("partitions claimed", "partitions", slices.Sorted(maps.Keys(claimed)))
	return at, nil
}

// within refuses an offset that the topic does not hold: what was there is lost, or the log is another.
func within(topic string, partition int32, next, start, end int64) error {
	switch {
	case next < start:
		return fmt.Errorf("topic %s partition %d: the store goes on at offset %d, and the topic begins at %d: "+
			"the updates between were deleted before they were stored (retention); see \"Deposits\" in OPERATING.md", topic, partition, next, start)
	case next > end:
		return fmt.Errorf("topic %s partition %d: the store goes on at offset %d, and the topic ends at %d: "+
			"records that were stored are gone from the topic, or the database is of another one; see \"Deposits\" in OPERATING.md", topic, partition, next, end)
	}
	return nil
}
