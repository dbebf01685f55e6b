package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Replay is what to send again.
type Replay struct {
	Connection *kafka.Connection
	App        string
	Filter     Filter
	Limit      int // letters; 0: all
	MaxReplays int // a letter that was sent so often stays
	DryRun     bool
}

// Result counts letters.
type Result struct {
	Replayed  int `json:"replayed"` // or would be
	Earlier   int `json:"replayedEarlier"`
	Filtered  int `json:"filtered"`
	Truncated int `json:"truncated"` // cannot be replayed
	Looping   int `json:"looping"`   // were replayed as often as is allowed
}

// Limits of a transaction.
const (
	batchLetters       = 500
	transactionTimeout = 30 * time.Second
)

// Group names the group whose offsets hold the progress, and the transactional id: a second replay at the same time shuts
// out the first.
func Group(app string) string { return Topic(app) + "-replay" }

// Run sends the letters to their inputs, and its progress, in transactions: whatever crashes, and however often it is
// repeated, no letter is sent twice.
func (r Replay) Run(ctx context.Context) (Result, error) {
	s := &sender{Replay: r, progress: map[int32]*progress{}}
	starts, ends, err := bounds(ctx, r.Connection, r.App)
	if err != nil {
		return s.result, err
	}
	if err := s.open(ctx); err != nil {
		return s.result, err
	}
	defer s.cl.Close()
	if err := s.load(ctx, ends); err != nil {
		return s.result, err
	}
	err = r.Connection.ReadAll(ctx, Topic(r.App), starts, ends, func(rec *kgo.Record) {
		if s.err == nil {
			l := read(rec)
			s.err = s.take(ctx, &l)
		}
	})
	if err = errors.Join(err, s.err); err != nil {
		return s.result, err
	}
	return s.result, s.flush(ctx)
}

type sender struct {
	Replay
	cl       *kgo.Client
	v2       bool
	progress map[int32]*progress
	batch    []*Letter
	taken    int
	result   Result
	err      error
}

// open asks for the producer id first: it ends what a dead replay left open (and fences a living one).
func (s *sender) open(ctx context.Context) error {
	if s.DryRun {
		cl, err := s.Connection.Client(ctx)
		s.cl = cl
		return err
	}
	plain, err := s.Connection.Client(ctx)
	if err != nil {
		return err
	}
	defer plain.Close()
	if s.v2, err = transactionV2(ctx, plain); err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.TransactionalID(Group(s.App)), kgo.TransactionTimeout(transactionTimeout), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if !s.v2 {
		versions := kversion.Stable()
		versions.SetMaxKeyVersion(28, 4) // TxnOffsetCommit before KIP-890
		opts = append(opts, kgo.MaxVersions(versions))
	}
	if s.cl, err = s.Connection.Client(ctx, opts...); err != nil {
		return err
	}
	if _, _, err = s.cl.ProducerID(ctx); err != nil {
		s.cl.Close()
		return fmt.Errorf("producer id of %s: %w", Group(s.App), err)
	}
	return nil
}

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

// load reads the progress, once it is stable.
func (s *sender) load(ctx context.Context, ends kafka.Ends) error {
	adm := kadm.NewClient(s.cl)
	for {
		listed, err := adm.FetchOffsetsForTopics(kadm.RequireStable(ctx), Group(s.App), Topic(s.App))
		if errors.Is(err, kerr.GroupIDNotFound) {
			listed, err = nil, nil
		}
		if err == nil {
			err = listed.Error()
		}
		if errors.Is(err, kerr.UnstableOffsetCommit) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("fetch offsets of group %s: %w", Group(s.App), err)
		}
		for p := range ends {
			s.progress[p] = &progress{}
			if at, ok := listed.Lookup(Topic(s.App), p); ok && at.At >= 0 {
				if s.progress[p], err = decode(at.At, at.Metadata); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func (s *sender) take(ctx context.Context, l *Letter) error {
	switch {
	case !s.progress[l.Partition].open(l.Offset):
		s.result.Earlier++
	case !s.Filter.takes(l) || s.Limit > 0 && s.taken >= s.Limit:
		s.result.Filtered++
	case l.Truncated:
		s.result.Truncated++
	case l.Replays >= s.MaxReplays:
		s.result.Looping++
	default:
		s.taken++
		s.batch = append(s.batch, l)
		if len(s.batch) == batchLetters {
			return s.flush(ctx)
		}
	}
	return nil
}

// flush sends the batch and the progress in one transaction.
func (s *sender) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	offsets, err := s.advance()
	if err != nil {
		return err
	}
	if !s.DryRun {
		if err := s.send(ctx, offsets); err != nil {
			return fmt.Errorf("replay of %d letters is not confirmed; repeat it, none is sent twice: %w", len(s.batch), err)
		}
	}
	s.result.Replayed += len(s.batch)
	s.batch = s.batch[:0]
	return nil
}

// advance moves the progress over the batch and returns it as offsets to commit.
func (s *sender) advance() (map[int32]kmsg.TxnOffsetCommitRequestTopicPartition, error) {
	offsets := map[int32]kmsg.TxnOffsetCommitRequestTopicPartition{}
	for _, l := range s.batch {
		s.progress[l.Partition].done(l.Offset)
		offsets[l.Partition] = kmsg.TxnOffsetCommitRequestTopicPartition{}
	}
	for p := range offsets {
		text, err := s.progress[p].encode()
		if err != nil {
			return nil, err
		}
		o := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		o.Partition, o.Offset, o.Metadata = p, s.progress[p].next, &text
		offsets[p] = o
	}
	return offsets, nil
}

func (s *sender) send(ctx context.Context, offsets map[int32]kmsg.TxnOffsetCommitRequestTopicPartition) error {
	if err := s.cl.BeginTransaction(); err != nil {
		return err
	}
	var records []*kgo.Record
	for _, l := range s.batch {
		records = append(records, l.original())
	}
	err := s.cl.ProduceSync(ctx, records...).FirstErr()
	if err == nil {
		err = s.commitOffsets(ctx, offsets)
	}
	if err != nil {
		return errors.Join(err, s.cl.EndTransaction(context.WithoutCancel(ctx), kgo.TryAbort))
	}
	return s.cl.EndTransaction(ctx, kgo.TryCommit)
}

func (s *sender) commitOffsets(ctx context.Context, offsets map[int32]kmsg.TxnOffsetCommitRequestTopicPartition) error {
	id, epoch, err := s.cl.ProducerID(ctx)
	if err != nil {
		return err
	}
	group := Group(s.App)
	if !s.v2 {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = group, id, epoch, group
		resp, err := add.RequestWith(ctx, s.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return err
		}
	}
	described, err := kadm.NewClient(s.cl).ListTopics(ctx, Topic(s.App))
	if err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = group, id, epoch, group
	t := kmsg.NewTxnOffsetCommitRequestTopic()
	t.Topic, t.TopicID = Topic(s.App), described[Topic(s.App)].ID
	for _, o := range offsets {
		t.Partitions = append(t.Partitions, o)
	}
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, s.cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("commit the progress in partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}
