package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/member"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/topology"
)

// repartitionConfigs are those of a repartition topic. Brokers go by the records' own time, which is the input's: any
// retention of theirs would delete old records that are not processed. The engine deletes instead; see purge.
var repartitionConfigs = map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}

// checkRepartition checks a repartition topic for who fills it; it may have other partitions than the input.
func checkRepartition(topic, _ broker.Topic) error {
	if topic.CleanupPolicy != "" && topic.CleanupPolicy != "delete" {
		return fmt.Errorf("repartition topic %s has cleanup.policy %q, which loses records: set it to %q", topic.Name, topic.CleanupPolicy, "delete")
	}
	return nil
}

// checkFilled refuses to make a repartition topic anew where the application that fills it committed offsets of its input:
// what the topic held, and was not processed, would be passed over in silence.
func checkFilled(ctx context.Context, c *broker.Cluster, filler *topology.Topology) error {
	input, err := c.Topic(ctx, filler.Inputs[0])
	if errors.Is(err, broker.ErrNoTopic) {
		return nil // said elsewhere
	}
	if err != nil {
		return err
	}
	committed, err := committedOf(ctx, c, filler.ID, input)
	if err != nil {
		return err
	}
	for p, at := range committed {
		if restore.Resetting(at.Metadata) {
			return fmt.Errorf("a reset of application %s has begun and not ended: run penstock reset again, with the same arguments", filler.ID)
		}
		if at.Offset >= 0 {
			return fmt.Errorf("repartition topic %s does not exist, but group %s has committed offset %d of topic %s partition %d with it: what it held and was not processed is lost. Restore the topic, or use another --app",
				filler.Outputs[0], filler.ID, at.Offset, input.Name, p)
		}
	}
	return nil
}

// Of the processed records of a repartition topic: how often they are deleted, and how old they are then, by their own
// time. Until then an audit can read them.
const (
	purgeInterval = 30 * time.Second
	purgeAge      = 7 * 24 * time.Hour
)

// purge deletes the records of an internal input that are processed, which is below the committed offsets, and old, in the
// partitions that this process owns. It saves room on the brokers, and nothing depends on it: what fails is tried again, and said once.
func (e *engine) purge(ctx context.Context, c *broker.Cluster, group *member.Group, topic broker.Topic) {
	interval, age := purgeInterval, purgeAge
	if e.cfg.purgeInterval > 0 {
		interval, age = e.cfg.purgeInterval, e.cfg.purgeAge
	}
	purged := map[int32]int64{}
	for said := false; pause(ctx, interval) == nil; {
		var owned []int32
		for p := range topic.Partitions {
			if group.Epoch(p) != 0 {
				owned = append(owned, p)
			}
		}
		err := e.purgeOnce(ctx, c, topic, owned, time.Now().Add(-age), purged)
		if err != nil && !said && ctx.Err() == nil && !broker.IsRetriable(err) {
			said = true
			e.cfg.Logger.Warn("the processed records of a repartition topic are not deleted: it grows", "topic", topic.Name, "error", err)
		}
	}
}

// purgeOnce deletes what is committed by now and lies before the first record of a time, where that is above what was purged.
func (e *engine) purgeOnce(ctx context.Context, c *broker.Cluster, topic broker.Topic, owned []int32, before time.Time, purged map[int32]int64) error {
	if len(owned) == 0 {
		return nil
	}
	committed, err := c.Committed(ctx, e.topo.ID, topic.Name, owned)
	if err != nil {
		return err
	}
	recent, err := c.OffsetsAfter(ctx, topic.Name, before.UnixMilli())
	if err != nil {
		return err
	}
	below := map[int32]int64{}
	for p, at := range committed {
		if to := min(at.Offset, recent[p]); at.Err == nil && to > purged[p] {
			below[p] = to
		}
	}
	if len(below) == 0 {
		return nil
	}
	if err := c.DeleteBelow(ctx, topic.Name, below); err != nil {
		return err
	}
	for p, at := range below {
		purged[p] = at
	}
	return nil
}
