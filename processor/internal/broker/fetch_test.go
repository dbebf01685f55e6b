package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// R5: however little a read holds, the committed records are read, all of them and no others.
func TestReadsOfAnySizeReadWhatIsCommitted(t *testing.T) {
	const topic = "log"
	cluster := newBrokers(t, kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	rng := rand.New(rand.NewPCG(1, 1))
	var producers []*kgo.Client
	for i := range 2 {
		cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID(fmt.Sprint("id", i)), kgo.DefaultProduceTopic(topic))
		require.NoError(t, err)
		defer cl.Close()
		producers = append(producers, cl)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var want []string
	n := 0
	for range 150 {
		cl := producers[rng.IntN(2)]
		require.NoError(t, cl.BeginTransaction())
		var sent []string
		for range 1 + rng.IntN(4) {
			n++
			sent = append(sent, strconv.Itoa(n))
			require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Value: []byte(strconv.Itoa(n))}).FirstErr())
		}
		commit := kgo.TransactionEndTry(rng.IntN(3) > 0)
		require.NoError(t, cl.EndTransaction(ctx, commit))
		if commit {
			want = append(want, sent...)
		}
	}
	c := cluster.connect(Config{})
	described, err := c.Topic(ctx, topic)
	require.NoError(t, err)
	bounds, err := c.Bounds(ctx, topic)
	require.NoError(t, err)
	for _, size := range []int32{1, 100, 200, 500, 1000, 5000, rawFetchBytes} {
		r := c.Reader(described, 0)
		r.MaxBytes = size
		var got []string
		reads := 0
		for next := int64(0); next < bounds[0].HW; reads++ {
			f, err := r.Fetch(ctx, next)
			require.NoError(t, err)
			require.Greater(t, f.Next, next)
			for _, rec := range f.Records {
				got = append(got, string(rec.Value))
			}
			next = f.Next
		}
		require.Equal(t, want, got, "reads of %d bytes", size)
		t.Logf("%d reads of %d bytes", reads, size)
	}
}
