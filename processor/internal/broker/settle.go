package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A coordinator of Kafka 4 that ends a transaction while one of its partitions has no leader takes that partition for
// deleted (KAFKA-20734), as it does where a broker without a replica dies with transactions that it was ending. It calls
// such a transaction complete, but its records and offsets stay open, until the next transaction of the same producer ends
// there: as that one does, committed or aborted. So before anything is sent under an id whose last transaction may be such
// a one, its end is said again, everywhere.

// ending is how a transactional id's last transaction ended, and under which producer that is said again.
type ending struct {
	commit bool
	from   sender
}

const (
	settleEvery   = 20 * time.Millisecond // the pause between two looks at a transaction that is about to end
	settleTimeout = 30 * time.Second      // for all of settle, and for a producer id
)

// settle says the end of the last transaction of cfg's id again where that may be lacking: cfg.Doubt says so, or it was aborted, or
// is just being ended, or an offset of the group is not stable. An open transaction is none of its business: the next producer
// id ends it.
func (c *Cluster) settle(ctx context.Context, cfg SessionConfig) error {
	if cfg.TransactionalID == "" || cfg.Group == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	if left, ok := c.unsettled.Load(cfg.TransactionalID); ok { // a try that was cut off
		return c.say(ctx, cfg, left.(ending))
	}
	for doubt := cfg.Doubt; ; doubt = true {
		state, err := c.transaction(ctx, cfg.TransactionalID)
		if err != nil {
			return err
		}
		switch state {
		case "PrepareCommit", "PrepareAbort":
			if err := wait(ctx, settleEvery); err != nil {
				return fmt.Errorf("the last transaction of %q is in state %s: %w", cfg.TransactionalID, state, err)
			}
			continue
		case "CompleteCommit":
			if !doubt && !c.unstable(ctx, cfg.Group) {
				return nil
			}
		case "CompleteAbort":
		default:
			return nil
		}
		err = c.say(ctx, cfg, ending{commit: state == "CompleteCommit"})
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
	}
}

// transaction is the state of an id's last transaction, empty where there is none, or none can be told.
func (c *Cluster) transaction(ctx context.Context, id string) (string, error) {
	described, err := c.adm.DescribeTransactions(ctx, id)
	if err == nil {
		err = described[id].Err
	}
	switch {
	case errors.Is(err, kerr.TransactionalIDNotFound), errors.Is(err, kerr.UnsupportedVersion): // before Kafka 3.0
		return "", nil
	case err != nil:
		return "", fmt.Errorf("describe the last transaction of %q: %w", id, lacking(err, Describe, "transactional-id", id))
	}
	return described[id].State, nil
}

// unstable reports whether an offset of the group cannot be told, or not be asked for.
func (c *Cluster) unstable(ctx context.Context, group string) bool {
	listed, err := c.adm.FetchOffsets(kadm.RequireStable(ctx), group)
	unstable := err != nil && !errors.Is(err, kerr.GroupIDNotFound)
	listed.Each(func(o kadm.OffsetResponse) { unstable = unstable || errors.Is(o.Err, kerr.UnstableOffsetCommit) })
	return unstable
}

// say ends, as the last one ended, a transaction that covers all partitions and has no record. A rival is fenced first. What is cut
// off is done by the next call for the id.
func (c *Cluster) say(ctx context.Context, cfg SessionConfig, end ending) error {
	cl, err := kgo.NewClient(c.cfg.opts(kgo.MaxVersions(versionsOf(false)))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	id := cfg.TransactionalID
	if !end.from.transactional {
		if end.from, err = initProducer(ctx, cl, cfg); err != nil {
			return err
		}
		c.unsettled.Store(id, end)
	}
	partitions, err := c.partitionsOf(ctx, cfg.Writes)
	if err == nil {
		err = addPartitions(ctx, cl, id, end.from, partitions)
	}
	if err == nil {
		err = addGroup(ctx, cl, id, cfg.Group, end.from)
	}
	if err == nil {
		_, err = endTransaction(ctx, cl, id, end.from, end.commit)
	}
	if err == nil || !IsAway(err) && ctx.Err() == nil {
		c.unsettled.Delete(id)
	}
	if err != nil {
		return fmt.Errorf("end the last transaction of %q again: %w", id, err)
	}
	if c.cfg.Logger != nil {
		c.cfg.Logger.Info("the last transaction was ended again, for the case that the brokers lost a part of its end", "transactional_id", id, "committed", end.commit)
	}
	return nil
}

// partitionsOf lists every partition of those topics that there are.
func (c *Cluster) partitionsOf(ctx context.Context, topics []string) (map[string][]int32, error) {
	listed, err := c.adm.ListTopics(ctx, topics...)
	if err != nil {
		return nil, err
	}
	partitions := map[string][]int32{}
	for _, d := range listed.Sorted() {
		if d.Err == nil && len(d.Partitions) > 0 {
			partitions[d.Topic] = d.Partitions.Numbers()
		}
	}
	return partitions, nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
