package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bounds are the offsets of one partition.
type Bounds struct {
	Start int64 // the first there is
	LSO   int64 // last stable offset: what a read-committed reader can reach
	HW    int64 // high watermark
}

// Bounds asks for the offsets of a topic's partitions. It is answered whole or not at all.
func (c *Cluster) Bounds(ctx context.Context, topic string) (map[int32]Bounds, error) {
	l, err := c.list(ctx, topic)
	if err == nil {
		err = l.fault()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
	}
	return l.bounds, nil
}

// BoundsOf asks for the offsets of one partition, together with others who ask for those of the topic's.
func (c *Cluster) BoundsOf(ctx context.Context, topic string, partition int32) (Bounds, error) {
	l, err := c.list(ctx, topic)
	if err == nil {
		err = l.faultOf(partition)
	}
	if err != nil {
		return Bounds{}, fmt.Errorf("list offsets of topic %s partition %d: %w", topic, partition, err)
	}
	return l.bounds[partition], nil
}

// listing is what the brokers say of a topic's offsets: of each partition its bounds, or why they are not known.
type listing struct {
	bounds map[int32]Bounds
	faults map[int32]error // partition -1: the topic's
}

func (l listing) fault() error {
	for _, err := range l.faults {
		return err
	}
	return nil
}

func (l listing) faultOf(partition int32) error {
	if _, ok := l.bounds[partition]; ok {
		return nil
	}
	for _, p := range []int32{partition, -1} {
		if err, ok := l.faults[p]; ok {
			return err
		}
	}
	return kerr.UnknownTopicOrPartition
}

func (c *Cluster) list(ctx context.Context, topic string) (listing, error) {
	return c.listings.Of(topic).Do(ctx, func() (listing, error) { return c.listNow(c.life, topic) })
}

func (c *Cluster) listNow(ctx context.Context, topic string) (listing, error) {
	l := listing{map[int32]Bounds{}, map[int32]error{}}
	for i, ask := range []struct {
		list func(context.Context, ...string) (kadm.ListedOffsets, error)
		set  func(*Bounds, int64)
	}{
		// The high watermark is read before anything that depends on it (R5).
		{c.adm.ListEndOffsets, func(b *Bounds, o int64) { b.HW = o }},
		{c.adm.ListCommittedOffsets, func(b *Bounds, o int64) { b.LSO = o }},
		{c.adm.ListStartOffsets, func(b *Bounds, o int64) { b.Start = o }},
	} {
		listed, err := ask.list(ctx, topic)
		if some := (*kadm.ShardErrors)(nil); errors.As(err, &some) && !some.AllFailed { // some brokers did not answer
			l.faults[-1], err = err, nil
		}
		if err != nil {
			return l, err
		}
		known := map[int32]Bounds{} // by all answers so far
		for p, o := range listed[topic] {
			b, ok := l.bounds[p]
			switch {
			case o.Err != nil:
				l.faults[p] = o.Err
			case ok || i == 0:
				ask.set(&b, o.Offset)
				known[p] = b
			}
		}
		l.bounds = known
	}
	return l, nil
}

// Committed is a group's committed offset of one partition.
type Committed struct {
	Offset   int64 // -1: none
	Epoch    Epoch
	Metadata string
	Err      error // ErrUnstable: a transaction that may change it is open
}

// Epoch is the leader epoch under which the record before an offset was written: it tells a log that was cut, and has
// grown past the offset again, from the one that was read. The zero value is none that is known.
type Epoch int32

// epochOf is that of Kafka's number, which is -1 for none.
func epochOf(kafka int32) Epoch { return Epoch(kafka + 1) }

func (e Epoch) kafka() int32 { return int32(e) - 1 }

// EndOf is the offset where the log parts from that of an epoch's leader: what was read above it under this epoch is gone.
// ok is false where the broker does not know.
func (c *Cluster) EndOf(ctx context.Context, topic string, partition int32, e Epoch) (end int64, ok bool, err error) {
	var req kadm.OffsetForLeaderEpochRequest
	req.Add(topic, partition, e.kafka())
	all, err := c.adm.OffsetForLeaderEpoch(ctx, req)
	got, ok := all[topic][partition]
	if err == nil {
		err = got.Err
	}
	if err != nil {
		return 0, false, fmt.Errorf("ask for the end of leader epoch %d of topic %s partition %d: %w", e.kafka(), topic, partition, err)
	}
	return got.EndOffset, ok && got.EndOffset >= 0, nil
}

// ErrUnstable says that an offset cannot be told yet, since a transaction that commits it has not ended.
var ErrUnstable = errors.New("a transaction on the committed offset is open")

// Committed asks for the group's committed offsets of a topic, stable ones only (R5): partition by partition, so that
// an open transaction on one holds up no other.
func (c *Cluster) Committed(ctx context.Context, group, topic string, partitions []int32) (map[int32]Committed, error) {
	listed, err := c.commits.Of(group+"\x00"+topic).Do(ctx, func() (kadm.OffsetResponses, error) {
		return c.committedNow(c.life, group, topic)
	})
	if err != nil {
		return nil, err
	}
	answer := map[int32]Committed{}
	for _, p := range partitions {
		got, ok := listed.Lookup(topic, p)
		switch {
		case ok && errors.Is(got.Err, kerr.UnstableOffsetCommit):
			answer[p] = Committed{Offset: -1, Err: ErrUnstable}
		case ok && got.Err != nil:
			answer[p] = Committed{Offset: -1, Err: fmt.Errorf("fetch offset of group %s, topic %s partition %d: %w", group, topic, p, lacking(got.Err, Read, "group", group))}
		case !ok || got.At < 0:
			answer[p] = Committed{Offset: -1}
		default:
			answer[p] = Committed{Offset: got.At, Epoch: epochOf(got.LeaderEpoch), Metadata: got.Metadata}
		}
	}
	return answer, nil
}

// CommittedOf is Committed of one partition, asked for together with others who ask for those of the topic's. Its error is
// the partition's too.
func (c *Cluster) CommittedOf(ctx context.Context, group, topic string, partition int32) (Committed, error) {
	all, err := c.Committed(ctx, group, topic, []int32{partition})
	if err == nil {
		err = all[partition].Err
	}
	return all[partition], err
}

// committedNow asks for all of a group's committed offsets, each with its own error.
func (c *Cluster) committedNow(ctx context.Context, group, topic string) (kadm.OffsetResponses, error) {
	// The group's offsets go with a topic that is deleted: that none is there says something only of one that is.
	topics, err := c.adm.ListTopics(ctx, topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	listed, err := c.adm.FetchOffsets(kadm.RequireStable(ctx), group)
	if errors.Is(err, kerr.GroupIDNotFound) { // a group that never was
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, lacking(err, Read, "group", group))
	}
	return listed, nil
}

// Membership is who commits: the fence that the group's coordinator checks (R2).
type Membership struct {
	Group      string
	MemberID   string
	Generation int32
	InstanceID string
	alone      bool
}

// Alone is for the offsets of a group that has no members: of a producer whose transactional id is the only fence.
func Alone(group string) Membership { return Membership{Group: group, Generation: -1, alone: true} }

// ErrNoMember says that there is no membership to commit under. The broker takes a commit without one unfenced, so none
// is ever sent (R2).
var ErrNoMember = errors.New("not a member of the group")

func (m Membership) check() error {
	if !m.alone && (m.MemberID == "" || m.Generation < 0) {
		return ErrNoMember
	}
	return nil
}

// Offset is one to commit.
type Offset struct {
	Topic     Topic
	Partition int32
	Offset    int64
	Epoch     Epoch
	Metadata  string
}

// Commit commits offsets outside of any transaction. An error that is not certain to have changed nothing is treated by
// the caller like one that did.
func (c *Cluster) Commit(ctx context.Context, m Membership, offsets []Offset) error {
	if err := m.check(); err != nil {
		return err
	}
	req := kmsg.NewPtrOffsetCommitRequest()
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
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = o.Topic.Name, topicID(o.Topic.ID)
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = o.Partition, o.Offset, o.Epoch.kafka(), &o.Metadata
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return fmt.Errorf("commit offsets: %w", err)
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

func topicID(hex string) (id [16]byte) {
	if len(hex) != 32 {
		return id
	}
	for i := range id {
		id[i] = nibble(hex[2*i])<<4 | nibble(hex[2*i+1])
	}
	return id
}

func nibble(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}
