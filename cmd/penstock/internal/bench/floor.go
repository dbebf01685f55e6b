package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// FloorConfig is a floor's.
type FloorConfig struct {
	Connection               *kafka.Connection
	Name                     string // of its group, and what its transactional ids begin with
	Input, Output, Changelog string
	Workers                  int
	Transactions             bool
}

// Limits of the floor: of transactions and fetches the engine's, of the client's producer those that serve it best.
const (
	floorCommit    = 300 * time.Millisecond // under load
	floorMinCommit = 5 * time.Millisecond   // with nothing more to read
	floorLinger    = 20 * time.Millisecond
	floorRecords   = 1 << 17 // of a transaction
	floorBuffered  = 1 << 13 // on their way to the broker
	floorFetch     = 512 << 10
)

// Floor copies the input's records, keys and values as they are, to the output, writes a changelog record for each key
// and transaction, and commits the offsets, each worker its own partitions, until ctx is done. It returns how many
// transactions there were.
func Floor(ctx context.Context, cfg FloorConfig) (transactions int64, err error) {
	cl, err := cfg.Connection.Client(ctx)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, cfg.Input)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", cfg.Input, err)
	}
	partitions, topicID := int32(len(topics[cfg.Input].Partitions)), topics[cfg.Input].ID
	v2, err := transactionV2(ctx, cl)
	if err != nil {
		return 0, err
	}
	var count atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for n := range cfg.Workers {
		w := &copier{cfg: cfg, v2: v2, id: fmt.Sprintf("%s-%d", cfg.Name, n), count: &count, topicID: topicID, next: map[int32]int64{}, stable: map[int32]int64{}}
		for p := int32(n); p < partitions; p += int32(cfg.Workers) {
			w.next[p] = 0
		}
		if len(w.next) > 0 {
			g.Go(func() error { return w.run(ctx) })
		}
	}
	err = g.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return count.Load(), err
}

// transactionV2 reports whether a transaction's partitions need no call of their own (KIP-890).
func transactionV2(ctx context.Context, cl *kgo.Client) (bool, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "penstock", "1"
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return false, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel >= 2, nil
		}
	}
	return false, nil
}

// copier is one worker of the floor.
type copier struct {
	cfg   FloorConfig
	v2    bool
	id    string
	count *atomic.Int64
	cl    *kgo.Client

	topicID [16]byte // of the input
	next    map[int32]int64
	stable  map[int32]int64  // last stable offsets as the last fetch saw them
	keys    map[string]int32 // of this transaction, with their partitions
	records sync.Pool
	copied  int
	failed  atomic.Pointer[error]
}

func (w *copier) run(ctx context.Context) error {
	at := map[int32]kgo.Offset{}
	for p := range w.next {
		at[p] = kgo.NewOffset().AtStart()
	}
	opts := []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{w.cfg.Input: at}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(floorFetch), kgo.FetchMaxPartitionBytes(floorFetch / 2),
		kgo.FetchMaxWait(500 * time.Millisecond), kgo.ProducerLinger(floorLinger), kgo.MaxBufferedRecords(floorBuffered),
		kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if w.cfg.Transactions {
		if !w.v2 {
			versions := kversion.Stable()
			versions.SetMaxKeyVersion(28, 4) // TxnOffsetCommit before KIP-890
			opts = append(opts, kgo.MaxVersions(versions))
		}
		opts = append(opts, kgo.TransactionalID(w.id), kgo.TransactionTimeout(10*time.Second))
	}
	var err error
	if w.cl, err = w.cfg.Connection.Client(ctx, opts...); err != nil {
		return err
	}
	defer w.cl.CloseAllowingRebalance()
	if _, _, err := w.cl.ProducerID(ctx); err != nil {
		return err
	}
	w.records.New = func() any { return new(kgo.Record) }
	w.keys = map[string]int32{}
	var opened, committed time.Time
	open := false
	for ctx.Err() == nil {
		fetches := w.poll(ctx, open, opened, committed)
		if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			return err
		}
		if !open && fetches.NumRecords() > 0 {
			if err := w.begin(); err != nil {
				return err
			}
			open, opened = true, time.Now()
		}
		w.copy(ctx, fetches)
		idle := fetches.NumRecords() == 0 && !w.behind() && time.Since(committed) >= floorMinCommit
		if open && (idle || time.Since(opened) >= floorCommit || w.copied >= floorRecords) {
			if err := w.commit(ctx); err != nil {
				return err
			}
			open, committed = false, time.Now()
		}
	}
	return ctx.Err()
}

func (w *copier) begin() error {
	if !w.cfg.Transactions {
		return nil
	}
	return w.cl.BeginTransaction()
}

// poll waits for records, with an open transaction until a commit may be due.
func (w *copier) poll(ctx context.Context, open bool, opened, committed time.Time) kgo.Fetches {
	if !open {
		return w.cl.PollFetches(ctx)
	}
	wait := floorMinCommit - time.Since(committed)
	if w.behind() {
		wait = floorCommit - time.Since(opened)
	}
	ctx, cancel := context.WithTimeout(ctx, max(0, wait))
	defer cancel()
	return w.cl.PollFetches(ctx)
}

// behind reports whether the last fetch left committed records to be read.
func (w *copier) behind() bool {
	for p, next := range w.next {
		if next < w.stable[p] {
			return true
		}
	}
	return false
}

// copy sends the records on.
func (w *copier) copy(ctx context.Context, fetches kgo.Fetches) {
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		w.stable[p.Partition] = max(w.stable[p.Partition], p.LastStableOffset)
		for _, in := range p.Records {
			r := w.records.Get().(*kgo.Record)
			*r = kgo.Record{Topic: w.cfg.Output, Partition: in.Partition, Key: in.Key, Value: in.Value, Timestamp: in.Timestamp}
			w.cl.Produce(ctx, r, w.sent)
			w.copied++
			if _, ok := w.keys[string(in.Key)]; !ok {
				w.keys[string(in.Key)] = in.Partition
			}
		}
		if n := len(p.Records); n > 0 {
			w.next[p.Partition] = p.Records[n-1].Offset + 1
		}
	})
}

func (w *copier) sent(r *kgo.Record, err error) {
	if err != nil {
		w.failed.CompareAndSwap(nil, &err)
	}
	w.records.Put(r)
}

// changelogValue is as long as a state's.
var changelogValue = []byte(`{"totalSum":12345.67}`)

func (w *copier) commit(ctx context.Context) error {
	for key, partition := range w.keys {
		r := w.records.Get().(*kgo.Record)
		*r = kgo.Record{Topic: w.cfg.Changelog, Partition: partition, Key: []byte(key), Value: changelogValue}
		w.cl.Produce(ctx, r, w.sent)
	}
	clear(w.keys)
	w.copied = 0
	if err := w.cl.Flush(ctx); err != nil {
		return err
	}
	if err := w.failed.Load(); err != nil {
		return *err
	}
	w.count.Add(1)
	if !w.cfg.Transactions {
		return w.commitPlain(ctx)
	}
	if err := w.addOffsets(ctx); err != nil {
		return err
	}
	return w.cl.EndTransaction(ctx, kgo.TryCommit)
}

func (w *copier) addOffsets(ctx context.Context) error {
	id, epoch, err := w.cl.ProducerID(ctx)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	if !w.v2 {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = w.id, id, epoch, w.cfg.Name
		resp, err := add.RequestWith(ctx, w.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return err
		}
	}
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation = w.id, id, epoch, w.cfg.Name, -1
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.TopicID = w.cfg.Input, w.topicID
	for partition, next := range w.next {
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = partition, next
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, w.cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("add offset of partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}

func (w *copier) commitPlain(ctx context.Context) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = w.cfg.Name, -1
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic, t.TopicID = w.cfg.Input, w.topicID
	for partition, next := range w.next {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = partition, next
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, w.cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit offset of partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}
