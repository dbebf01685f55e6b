package broker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reader reads one partition by raw fetches, so that its position, markers and aborted batches included, and the
// partition's offsets are known exactly. It is used by one goroutine.
type Reader struct {
	cluster   *Cluster
	topic     Topic
	partition int32
	leader    int32
	MaxWait   time.Duration // how long the broker may wait for data
	MaxBytes  int32         // of one fetch, about
}

// rawFetchBytes bounds one raw fetch, unless its reader says more: one that looks for a single record meets what lies behind it too.
const rawFetchBytes = 64 << 10

// Reader makes a reader of a partition.
func (c *Cluster) Reader(topic Topic, partition int32) *Reader {
	return &Reader{cluster: c, topic: topic, partition: partition, leader: -1,
		MaxWait: 250 * time.Millisecond, MaxBytes: rawFetchBytes}
}

// Fetched is one answer.
type Fetched struct {
	Records []*kgo.Record // committed ones; markers left out
	Next    int64         // the offset after what the answer held, markers and aborted records included
	Bounds  Bounds
}

// Bytes is the size of the records' keys and values.
func (f *Fetched) Bytes() (n int) {
	for _, r := range f.Records {
		n += len(r.Key) + len(r.Value)
	}
	return n
}

// Header returns a record's last header of that key.
func Header(r *kgo.Record, key string) (value string, ok bool) {
	for _, h := range r.Headers {
		if h.Key == key {
			value, ok = string(h.Value), true
		}
	}
	return value, ok
}

// ErrOutOfRange says that the offset is not in the partition: retention removed it, or the log was cut.
var ErrOutOfRange = errors.New("offset out of range")

// Fetch reads committed records from an offset. Without data it returns after MaxWait with Next unchanged.
func (r *Reader) Fetch(ctx context.Context, offset int64) (Fetched, error) {
	return r.fetched(ctx, offset, false)
}

// Standing is what is at an offset.
type Standing int

// What may be at an offset below the last stable one.
const (
	Gone   Standing = iota // nothing any more: compacted, or purged
	Counts                 // a committed record
	Void                   // a marker, or a record of an aborted transaction
)

// At tells what is at an offset. It is an error where an open transaction keeps that from being told.
func (r *Reader) At(ctx context.Context, offset int64) (Standing, error) {
	f, err := r.fetched(ctx, offset, false)
	switch {
	case err != nil:
		return Gone, err
	case len(f.Records) > 0 && f.Records[0].Offset == offset:
		return Counts, nil
	case f.Bounds.LSO <= offset:
		return Gone, fmt.Errorf("topic %s partition %d: offset %d lies above the last stable one, %d", r.topic.Name, r.partition, offset, f.Bounds.LSO)
	}
	f, err = r.fetched(ctx, offset, true)
	if err != nil || len(f.Records) == 0 || f.Records[0].Offset != offset {
		return Gone, err
	}
	return Void, nil
}

// fetched reads committed records, or all that there is, markers included.
func (r *Reader) fetched(ctx context.Context, offset int64, all bool) (Fetched, error) {
	f, err := r.fetch(ctx, offset, all)
	if err != nil {
		r.leader = -1
		return f, fmt.Errorf("fetch topic %s partition %d offset %d: %w", r.topic.Name, r.partition, offset, err)
	}
	return f, nil
}

func (r *Reader) fetch(ctx context.Context, offset int64, all bool) (Fetched, error) {
	if err := r.findLeader(ctx); err != nil {
		return Fetched{}, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis = int32(r.MaxWait.Milliseconds())
	// The partition's limit alone ends an answer: where the request's does, the embedded broker leaves out which of the
	// records are aborted.
	req.MinBytes, req.MaxBytes = 1, math.MaxInt32
	if !all {
		req.IsolationLevel = 1
	}
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.topic.Name, topicID(r.topic.ID)
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.partition, offset, r.MaxBytes
	p.CurrentLeaderEpoch = -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	raw, err := r.cluster.cl.Broker(int(r.leader)).RetriableRequest(ctx, req)
	if err != nil {
		return Fetched{}, err
	}
	resp := raw.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return Fetched{}, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return Fetched{}, errors.New("the answer does not hold the partition")
	}
	return r.read(&resp.Topics[0].Partitions[0], offset, all)
}

func (r *Reader) read(p *kmsg.FetchResponseTopicPartition, offset int64, all bool) (Fetched, error) {
	f := Fetched{Next: offset, Bounds: Bounds{Start: p.LogStartOffset, LSO: p.LastStableOffset, HW: p.HighWatermark}}
	switch err := kerr.ErrorForCode(p.ErrorCode); {
	case errors.Is(err, kerr.OffsetOutOfRange):
		return f, ErrOutOfRange
	case err != nil:
		return f, err
	}
	opts := kgo.ProcessFetchPartitionOpts{Offset: offset, KeepControlRecords: all, Topic: r.topic.Name, Partition: r.partition}
	if !all {
		opts.IsolationLevel = kgo.ReadCommitted()
	}
	fp, next := kgo.ProcessFetchPartition(opts, p, r.cluster.unpack, nil)
	if fp.Err != nil {
		return f, fp.Err
	}
	f.Records, f.Next = fp.Records, max(next, offset)
	return f, nil
}

func (r *Reader) findLeader(ctx context.Context) error {
	if r.leader >= 0 {
		return nil
	}
	resp, err := metadataOf(r.topic.Name).RequestWith(ctx, r.cluster.cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if p.Partition == r.partition && p.Leader >= 0 {
				r.leader = p.Leader
				return nil
			}
		}
	}
	return kerr.LeaderNotAvailable
}

// First returns the offset of the first committed record, or marker, at or after an offset: the proof of a gap (R4).
// It is next where the partition holds nothing from offset up to next.
func (r *Reader) First(ctx context.Context, offset, next int64) (int64, error) {
	for offset < next {
		f, err := r.Fetch(ctx, offset)
		if err != nil {
			return 0, err
		}
		if len(f.Records) > 0 {
			return min(f.Records[0].Offset, next), nil
		}
		if f.Next == offset {
			return 0, fmt.Errorf("topic %s partition %d: nothing at offset %d, last stable offset %d", r.topic.Name, r.partition, offset, f.Bounds.LSO)
		}
		offset = f.Next
	}
	return next, nil
}
