package integration

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What a test that failed says of transactions, for the faults that are met once in some hundred deaths of a broker.

// transactions logs what the broker holds open, and its last words.
func (c *cluster) transactions() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...)) // one of its own: the test's may be closed
	if err != nil {
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	listed, err := admin.ListTransactions(ctx, nil, nil)
	c.t.Logf("transactions: %v", err)
	for _, l := range listed.Sorted() {
		c.t.Logf("%+v", l)
	}
	described, err := admin.DescribeTransactions(ctx, listed.TransactionalIDs()...)
	c.t.Logf("described: %v", err)
	for _, d := range described.Sorted() {
		c.t.Logf("%+v", d)
	}
	producers, err := admin.DescribeProducers(ctx, kadm.TopicsSet{"__consumer_offsets": {0: {}, 1: {}, 2: {}, 3: {}}})
	c.t.Logf("producers of offsets: %v", err)
	for _, p := range producers.SortedProducers() {
		c.t.Logf("%+v", p)
	}
	c.offsetsLog(ctx)
	log := c.broker.Logs()
	c.t.Logf("broker:\n%s", log[max(0, len(log)-100_000):])
}

// offsetsLog logs which producers wrote offsets last and did not end their transaction, as far as the log tells.
func (c *cluster) offsetsLog(ctx context.Context) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.addrs...), kgo.ConsumeTopics("__consumer_offsets"), kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return
	}
	defer cl.Close()
	type writer struct {
		partition int32
		producer  int64
	}
	open, lines := map[writer]*kgo.Record{}, map[int32][]string{}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if r.ProducerID < 0 {
				return
			}
			w := writer{r.Partition, r.ProducerID}
			lines[r.Partition] = append(lines[r.Partition], fmt.Sprintf("%d: producer %d epoch %d control %v key %q value %q at %v", r.Offset, r.ProducerID, r.ProducerEpoch, r.Attrs.IsControl(), r.Key, r.Value, r.Timestamp))
			if r.Attrs.IsControl() {
				delete(open, w)
			} else {
				open[w] = r
			}
		})
	}
	for w, r := range open {
		c.t.Logf("offsets of producer %d, partition %d, are open since offset %d, epoch %d", w.producer, w.partition, r.Offset, r.ProducerEpoch)
	}
	for p, all := range lines {
		for _, line := range all[max(0, len(all)-60):] {
			c.t.Logf("offsets partition %d, %s", p, line)
		}
	}
}
