package integration

import (
	"testing"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// R3: a broker that died may have forgotten the end of a transaction (KAFKA-20734). What that left open is ended when the process starts that may:
// here an offset that is not stable, though the coordinator knows of no open transaction.
func TestAnOffsetThatHangsIsFreedByItsOwner(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "hanging", 4, kafkatest.WithConfig("transaction.partition.verification.enable", "false")) // else no such offset can be made
	p := c.member(0)
	produce(t, append(c.common[:2:2], sample(t, 2000))...)
	require.Equal(t, 2000, c.audit().Transactions)
	p.stop()
	c.hang("hanging-member-0-1", 1)
	p = c.member(0)
	produce(t, append(c.common[:2:2], sample(t, 2000))...)
	require.Equal(t, 4000, c.audit().Transactions)
	require.Contains(t, p.log.tail(8000), "the last transaction was ended again")
	p.stop()
}

// hang writes the group's offset of a partition once more, as the committed transaction of a transactional id would have whose end
// did not reach it.
func (c *cluster) hang(id string, partition int32) {
	c.t.Helper()
	ctx := c.t.Context()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.MaxVersions(versions))
	require.NoError(c.t, err)
	defer cl.Close()
	admin := kadm.NewClient(cl)
	described, err := admin.DescribeTransactions(ctx, id)
	require.NoError(c.t, err)
	last := described[id]
	require.Equal(c.t, "CompleteCommit", last.State)
	offsets, err := admin.FetchOffsets(ctx, c.app)
	require.NoError(c.t, err)
	at, ok := offsets.Lookup("transactions", partition)
	require.True(c.t, ok)

	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = id, last.ProducerID, last.ProducerEpoch, c.app
	topic, p := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
	topic.Topic = "transactions"
	p.Partition, p.Offset, p.Metadata = partition, at.At, &at.Metadata
	topic.Partitions = append(topic.Partitions, p)
	commit.Topics = append(commit.Topics, topic)
	committed, err := commit.RequestWith(ctx, cl)
	require.NoError(c.t, err)
	require.NoError(c.t, kerr.ErrorForCode(committed.Topics[0].Partitions[0].ErrorCode))
	stable, err := admin.FetchOffsets(kadm.RequireStable(ctx), c.app)
	require.NoError(c.t, err)
	at, _ = stable.Lookup("transactions", partition)
	require.ErrorIs(c.t, at.Err, kerr.UnstableOffsetCommit)
}
