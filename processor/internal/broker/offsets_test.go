package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Tasks are taken over all at once: what they ask the brokers must not grow with the square of the partitions.
func TestBoundsOfManyPartitionsAreAskedForTogether(t *testing.T) {
	const topic, partitions = "log", 200
	cluster := newBrokers(t, kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic))
	var asked atomic.Int64
	cluster.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	c := cluster.connect(Config{})
	var all sync.WaitGroup
	for p := range int32(partitions) {
		all.Go(func() {
			b, err := c.BoundsOf(t.Context(), topic, p)
			if err != nil || b != (Bounds{}) {
				t.Errorf("partition %d: %+v, %v", p, b, err)
			}
			of, err := c.CommittedOf(t.Context(), "group", topic, p)
			if err != nil || of.Offset != -1 {
				t.Errorf("partition %d: %+v, %v", p, of, err)
			}
		})
	}
	all.Wait()
	require.Less(t, asked.Load(), int64(partitions))
	_, err := c.BoundsOf(t.Context(), topic, partitions)
	require.ErrorContains(t, err, "partition 200")
}

// One partition that nobody leads holds up its own task, and no other.
func TestBoundsOfAPartitionDoNotWaitForAnother(t *testing.T) {
	const topic = "log"
	cluster := newBrokers(t, kfake.NumBrokers(1), kfake.SeedTopics(3, topic))
	cluster.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		req := r.(*kmsg.ListOffsetsRequest)
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Offset = p.Partition, 5
				if p.Partition == 1 {
					rp.Offset, rp.ErrorCode = -1, kerr.ReplicaNotAvailable.Code
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	c := cluster.connect(Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, p := range []int32{0, 2} {
		b, err := c.BoundsOf(ctx, topic, p)
		require.NoError(t, err)
		require.Equal(t, Bounds{5, 5, 5}, b)
	}
	_, err := c.BoundsOf(ctx, topic, 1)
	require.ErrorIs(t, err, kerr.ReplicaNotAvailable)
	_, err = c.Bounds(ctx, topic)
	require.ErrorIs(t, err, kerr.ReplicaNotAvailable, "all or nothing")
}
