package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Ends are the offsets behind the last stable record of each partition.
type Ends map[int32]int64

// StableEnds asks for a topic's last stable offsets.
func StableEnds(ctx context.Context, cl *kgo.Client, topic string) (Ends, error) {
	return ends(ctx, topic, kadm.NewClient(cl).ListCommittedOffsets)
}

// Written asks for the offsets behind the last records, those of open transactions too.
func Written(ctx context.Context, cl *kgo.Client, topic string) (Ends, error) {
	return ends(ctx, topic, kadm.NewClient(cl).ListEndOffsets)
}

// Starts asks for the offset of each partition's first record that is still there.
func Starts(ctx context.Context, cl *kgo.Client, topic string) (Ends, error) {
	return ends(ctx, topic, kadm.NewClient(cl).ListStartOffsets)
}

// Bounds of the wait for leaders that are being elected.
const (
	electionWait = 30 * time.Second
	electionPoll = 200 * time.Millisecond
)

func ends(ctx context.Context, topic string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (Ends, error) {
	deadline := time.Now().Add(electionWait)
	for {
		listed, err := list(ctx, topic)
		if err == nil {
			err = listed.Error()
		}
		if err == nil {
			e := Ends{}
			listed.Each(func(o kadm.ListedOffset) { e[o.Partition] = o.Offset })
			return e, nil
		}
		if !kerr.IsRetriable(shardErr(err)) || time.Now().After(deadline) {
			return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(electionPoll):
		}
	}
}

// shardErr is the first error of a request that went to several brokers.
func shardErr(err error) error {
	var shards *kadm.ShardErrors
	if errors.As(err, &shards) && len(shards.Errs) > 0 {
		return shards.Errs[0].Err
	}
	return err
}

// Reach reports whether all partitions are at or behind target.
func (e Ends) Reach(target Ends) bool {
	for p, end := range target {
		if e[p] < end {
			return false
		}
	}
	return true
}

// Reader reads a topic's committed records, all partitions, and knows how far it is. It belongs to one goroutine.
type Reader struct {
	cl       *kgo.Client
	topic    string
	position Ends
}

// Bounds of a fetch, as it comes over the wire; unpacked it may be ten times as large.
const (
	fetchBytes          = 2 << 20
	fetchPartitionBytes = 256 << 10
)

// NewReader reads the partitions of from at these offsets.
func (c *Connection) NewReader(ctx context.Context, topic string, from Ends) (*Reader, error) {
	at := map[int32]kgo.Offset{}
	position := Ends{}
	for p, o := range from {
		at[p] = kgo.NewOffset().At(o)
		position[p] = o
	}
	cl, err := c.Client(ctx,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // their offsets tell that the end is reached
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartitionBytes),
		kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return &Reader{cl: cl, topic: topic, position: position}, nil
}

// Close ends the reader.
func (r *Reader) Close() { r.cl.Close() }

// Position is the offset behind the last record that was handed out, of each partition. The map is the reader's.
func (r *Reader) Position() Ends { return r.position }

// Poll waits for records and gives them to each.
func (r *Reader) Poll(ctx context.Context, each func(*kgo.Record)) error {
	fetches := r.cl.PollFetches(ctx)
	if err := fetches.Err0(); err != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	var err error
	fetches.EachError(func(_ string, p int32, e error) {
		if ctx.Err() == nil {
			err = fmt.Errorf("read topic %s partition %d: %w", r.topic, p, e)
		}
	})
	if err != nil {
		return err
	}
	got := false
	fetches.EachRecord(func(rec *kgo.Record) {
		got = true
		r.position[rec.Partition] = rec.Offset + 1
		if !rec.Attrs.IsControl() {
			each(rec)
		}
	})
	if got {
		return nil // ctx may have ended while the records were handed out
	}
	return ctx.Err()
}

// stalled is how long nothing may come before the end of a topic is reached. The last offset of a log is always there to
// be read, markers included: brokers compact no open segment.
const stalled = 30 * time.Second

// ReadAll gives all committed records between the partitions' starts and ends to each, in offset order per partition.
func (c *Connection) ReadAll(ctx context.Context, topic string, starts, ends Ends, each func(*kgo.Record)) error {
	if starts.Reach(ends) {
		return nil
	}
	r, err := c.NewReader(ctx, topic, starts)
	if err != nil {
		return err
	}
	defer r.Close()
	for !r.Position().Reach(ends) {
		poll, cancel := context.WithTimeout(ctx, stalled)
		err := r.Poll(poll, func(rec *kgo.Record) {
			if rec.Offset < ends[rec.Partition] {
				each(rec)
			}
		})
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("read topic %s: nothing came for %v at offsets %v, before the ends %v", topic, stalled, r.Position(), ends)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
