package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// R5: an open transaction on the committed offset of one partition holds up that partition alone; when it has ended, that one
// goes on as well.
func TestAnOpenTransactionOnOneOffsetHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "unstable", 4)
	p := c.member(0)
	produce(t, append(c.common[:2:2], sample(t, 2000))...)
	require.Equal(t, 2000, c.audit().Transactions)
	p.stop()

	const held = 1
	abort := c.holdOffset(held)
	p = c.member(0)
	produce(t, append(c.common[:2:2], sample(t, 2000))...)
	admin := kadm.NewClient(c.client())
	ends, err := admin.ListCommittedOffsets(t.Context(), "transactions")
	require.NoError(t, err)
	behind := func() (list []int32) {
		offsets, err := admin.FetchOffsets(t.Context(), "unstable")
		require.NoError(t, err)
		ends.Each(func(end kadm.ListedOffset) {
			if at, _ := offsets.Lookup(end.Topic, end.Partition); at.At < end.Offset {
				list = append(list, end.Partition)
			}
		})
		return list
	}
	require.Eventually(t, func() bool { return len(behind()) == 1 }, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, []int32{held}, behind())
	abort()
	require.Equal(t, 4000, c.audit().Transactions)
	p.stop()
}

// holdOffset opens a transaction that commits an offset of one partition, and leaves it until it is told to abort it.
func (c *cluster) holdOffset(p int32) (abort func()) {
	c.t.Helper()
	const id = "somebody"
	ctx := c.t.Context()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.TransactionalID(id), kgo.TransactionTimeout(2*time.Minute))
	require.NoError(c.t, err)
	c.t.Cleanup(cl.Close)
	producer, epoch, err := cl.ProducerID(ctx)
	require.NoError(c.t, err)
	topics, err := kadm.NewClient(cl).ListTopics(ctx, "transactions")
	require.NoError(c.t, err)

	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = id, producer, epoch, c.app
	topic, partition := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	topic.Topic, topic.TopicID = "transactions", topics["transactions"].ID
	partition.Partition, partition.Offset = p, 7
	topic.Partitions = append(topic.Partitions, partition)
	commit.Topics = append(commit.Topics, topic)
	committed, err := commit.RequestWith(ctx, cl)
	require.NoError(c.t, err)
	require.NoError(c.t, kerr.ErrorForCode(committed.Topics[0].Partitions[0].ErrorCode))
	return func() {
		c.t.Helper()
		end := kmsg.NewPtrEndTxnRequest()
		end.TransactionalID, end.ProducerID, end.ProducerEpoch = id, producer, epoch
		ended, err := end.RequestWith(ctx, cl)
		require.NoError(c.t, err)
		require.NoError(c.t, kerr.ErrorForCode(ended.ErrorCode))
	}
}
