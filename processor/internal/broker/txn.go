package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Begin is called before the first record of a transaction, or, without transactions, after a Flush. Brokers are only asked where the
// topics' partitions are, once in layoutAge. A failed session says what failed it.
func (s *Session) Begin() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	s.sent = 0
	return s.out.begin()
}

// AddOffsets puts offsets into the open transaction, fenced by the membership. It is called after Flush (R2). At least one record must
// have been produced.
func (s *Session) AddOffsets(ctx context.Context, m Membership, offsets []Offset) error {
	if err := m.check(); err != nil {
		return err
	}
	from := s.out.from
	if !s.out.v2 {
		if err := addGroup(ctx, s.cl, s.cfg.TransactionalID, m.Group, from); err != nil {
			return err
		}
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = s.cfg.TransactionalID, from.id, from.epoch
	req.Group, req.MemberID, req.Generation = m.Group, m.MemberID, m.Generation
	if m.InstanceID != "" {
		req.InstanceID = &m.InstanceID
	}
	at := map[string]int{}
	for _, o := range offsets {
		i, ok := at[o.Topic.Name]
		if !ok {
			i = len(req.Topics)
			at[o.Topic.Name] = i
			t := kmsg.NewTxnOffsetCommitRequestTopic()
			t.Topic, t.TopicID = o.Topic.Name, topicID(o.Topic.ID)
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = o.Partition, o.Offset, o.Epoch.kafka(), &o.Metadata
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	resp, err := req.RequestWith(ctx, s.cl)
	if err != nil {
		return fmt.Errorf("add offsets to the transaction: %w", err)
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("add offset of partition %d to the transaction: %w", p.Partition, lackingWithin(s.cfg.TransactionalID, err, Read, "group", m.Group))
			}
		}
	}
	return nil
}

// ErrNothingSent says that a transaction without a record was to be committed, of which a broker may know nothing.
var ErrNothingSent = errors.New("a transaction without records cannot commit")

// Commit ends the transaction. Only nil means that it is committed (R3).
func (s *Session) Commit(ctx context.Context) error {
	if s.cfg.TransactionalID == "" {
		return nil
	}
	if s.sent == 0 {
		return ErrNothingSent
	}
	ctx, cancel := s.living(ctx)
	defer cancel()
	s.ending.Store(true)
	from := s.out.from
	err := afterLast(ctx, func() (err error) {
		from, err = endTransaction(ctx, s.cl, s.cfg.TransactionalID, s.out.from, true)
		return err
	})
	if err != nil {
		if p := s.failed.Load(); p != nil {
			err = *p
		}
		return fmt.Errorf("end the transaction: %w", err)
	}
	s.out.ended(from)
	return nil
}

// IsFenced reports whether an error says that another holder of the same transactional id took over.
func IsFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// IsRetriable reports whether an error may go away by itself.
func IsRetriable(err error) bool { return kerr.IsRetriable(err) || kgo.IsRetryableBrokerErr(err) }

// IsAway reports whether an error says that a broker that was asked did not answer, or not yet.
func IsAway(err error) bool {
	return IsRetriable(err) || errors.As(err, new(net.Error)) || errors.As(err, new(*kgo.ErrFirstReadEOF)) ||
		errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded)
}

// IsUnknownTopic reports whether an error says that a topic is not there, or not the one of that id.
func IsUnknownTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.InconsistentTopicID)
}

// IsAuthorization reports whether an error says that a right is missing.
func IsAuthorization(err error) bool {
	for _, e := range []error{kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.TransactionalIDAuthorizationFailed, kerr.SaslAuthenticationFailed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
