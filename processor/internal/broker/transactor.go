package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/processor/internal/topology"
)

// Transactor writes records, and a group's offsets with them, in transactions of a producer of its own: for tools beside an
// application. Two of one id shut each other out: the later one goes on. It is used by one goroutine.
type Transactor struct {
	cluster *Cluster
	session *Session
	group   string
	known   map[string]Topic
}

// TransactorConfig is what a Transactor is made from.
type TransactorConfig struct {
	ID      string        // the transactional id
	Group   string        // whose offsets it commits; no member of it may live
	Topics  []string      // all that it writes to
	Timeout time.Duration // after which brokers abort a transaction
}

// NewTransactor takes the id over: it ends what a predecessor left open, and says the end of its last transaction again
// where brokers may have lost a part of it. Offsets that are read from here on are those of an owner.
func (c *Cluster) NewTransactor(ctx context.Context, t TransactorConfig) (*Transactor, error) {
	sc := SessionConfig{TransactionalID: t.ID, TransactionTimeout: t.Timeout, Group: t.Group, Writes: t.Topics, Doubt: true}
	limits := map[string]int32{}
	for _, name := range t.Topics {
		switch topic, err := c.Topic(ctx, name); {
		case errors.Is(err, ErrNoTopic): // its records will say so
		case err != nil:
			return nil, err
		case topic.MaxMessageBytes > 0:
			limits[name] = int32(min(topic.MaxMessageBytes, math.MaxInt32))
		}
	}
	sc.BatchBytes = func(topic string) int32 { return cmp.Or(limits[topic], defaultBatchBytes) }
	s, err := c.NewSession(ctx, sc)
	if err != nil {
		return nil, err
	}
	return &Transactor{cluster: c, session: s, group: t.Group, known: map[string]Topic{}}, nil
}

// Do writes records, each to its partition, and offsets of the group, all or nothing. At least one record is needed. After an error the
// outcome is unknown and the Transactor spoiled: a new one finds what became of it.
func (x *Transactor) Do(ctx context.Context, records []*kgo.Record, offsets kadm.Offsets) error {
	if err := x.session.Begin(); err != nil {
		return err
	}
	for _, r := range records {
		out := Out{To: x.session.To(r.Topic, r.Partition), Key: r.Key, Value: r.Value, Timestamp: r.Timestamp.UnixMilli()}
		if r.Timestamp.IsZero() {
			out.Timestamp = time.Now().UnixMilli()
		}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, topology.Header(h))
		}
		x.session.Produce(out)
	}
	if err := x.session.Flush(ctx); err != nil {
		return err
	}
	var list []Offset
	for _, o := range offsets.Sorted() {
		topic, err := x.topic(ctx, o.Topic)
		if err != nil {
			return err
		}
		list = append(list, Offset{Topic: topic, Partition: o.Partition, Offset: o.At, Metadata: o.Metadata})
	}
	if err := x.session.AddOffsets(ctx, Alone(x.group), list); err != nil {
		return err
	}
	return x.session.Commit(ctx)
}

func (x *Transactor) topic(ctx context.Context, name string) (Topic, error) {
	if t, ok := x.known[name]; ok {
		return t, nil
	}
	t, err := x.cluster.Seen(ctx, name)
	if err != nil {
		return t, fmt.Errorf("topic %s: %w", name, err)
	}
	x.known[name] = t
	return t, nil
}

// Close drops the connections, the cluster's too. An open transaction stays open until a successor, or its timeout, ends it.
func (x *Transactor) Close() {
	x.session.Close()
	x.cluster.Close()
}
