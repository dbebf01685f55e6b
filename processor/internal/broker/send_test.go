package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/processor/internal/topology"
)

// cutting is a network that cuts connections about a produce: before it is written, or before its answer is read.
type cutting struct {
	left, cuts atomic.Int32
}

func (c *cutting) dial(ctx context.Context, network, host string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, cutting: c}, nil
}

type cutConn struct {
	net.Conn
	cutting *cutting
	deaf    atomic.Bool
}

func (c *cutConn) Write(p []byte) (int, error) {
	if len(p) >= 6 && int16(binary.BigEndian.Uint16(p[4:])) == int16(kmsg.Produce) {
		switch left := c.cutting.left.Add(-1); {
		case left < 0:
		case left%2 == 0:
			c.cutting.cuts.Add(1)
			_ = c.Close()
			return 0, net.ErrClosed
		default:
			c.cutting.cuts.Add(1)
			c.deaf.Store(true)
		}
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.deaf.Load() {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// Leaders move, brokers refuse for a while, and connections end about a produce: each transaction that committed is there
// once, whole and in order, and none that did not.
func TestProducesAreRepeatedUntilTheyAreThereOnce(t *testing.T) {
	for name, opts := range older {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrokers(t, opts...)
			rng := rand.New(rand.NewPCG(3, uint64(len(opts))))
			var refuse, refused atomic.Int32
			faults := []int16{kerr.NotLeaderForPartition.Code, kerr.ConcurrentTransactions.Code, kerr.RequestTimedOut.Code, kerr.NotEnoughReplicas.Code, kerr.UnknownTopicOrPartition.Code}
			b.answering(func(string, int32) (int16, int64, bool) {
				n := refuse.Add(-1)
				if n >= 0 {
					refused.Add(1)
				}
				return faults[max(0, int(n))%len(faults)], -1, n >= 0
			})
			network := &cutting{}
			c := b.connect(Config{Dial: network.dial})
			s := b.session(c, SessionConfig{TransactionalID: "id"})
			var want [4][]string
			n, replaced := 0, 0
			for i := range 60 {
				var records []Out
				for j := range 1 + rng.IntN(20) {
					records = append(records, Out{Topic: outTopicName, Key: fmt.Append(nil, rng.IntN(9)), Value: fmt.Append(nil, i, " ", j), Timestamp: time.Now().UnixMilli()})
				}
				switch rng.IntN(4) {
				case 0:
					refuse.Store(int32(rng.IntN(6)))
				case 1:
					network.left.Store(int32(rng.IntN(4)))
				case 2:
					require.NoError(t, b.MoveTopicPartition(outTopicName, int32(rng.IntN(4)), int32(rng.IntN(3))))
				}
				for transaction(b.ctx, s, records) != nil {
					require.NoError(t, b.ctx.Err())
					s.Close()
					s = b.session(c, SessionConfig{TransactionalID: "id"})
					replaced++
				}
				for _, r := range records {
					want[PartitionOf(r.Key, 4)] = append(want[PartitionOf(r.Key, 4)], string(r.Value))
				}
				n += len(records)
			}
			for partition, got := range b.committed(n) {
				var values []string
				for _, r := range got {
					values = append(values, string(r.Value))
				}
				require.Equal(t, want[partition], values)
			}
			t.Logf("%d sessions", 1+replaced)
			require.Less(t, replaced, 40)
			require.Positive(t, network.cuts.Load())
			require.Positive(t, refused.Load())
		})
	}
}

// A refusal that will not go away is the session's end.
func TestARefusalIsTold(t *testing.T) {
	for name, test := range map[string]struct {
		code int16
		says string
	}{
		"fenced":             {kerr.InvalidProducerEpoch.Code, "INVALID_PRODUCER_EPOCH"},
		"out of order":       {kerr.OutOfOrderSequenceNumber.Code, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
		"no right":           {kerr.TopicAuthorizationFailed.Code, `the right Write on topic "out" is missing`},
		"corrupt":            {kerr.CorruptMessage.Code, "CORRUPT_MESSAGE"},
		"too large":          {kerr.MessageTooLarge.Code, "MESSAGE_TOO_LARGE"},
		"never known":        {kerr.UnknownTopicOrPartition.Code, "UNKNOWN_TOPIC_OR_PARTITION"},
		"an invalid one":     {kerr.InvalidRecord.Code, "INVALID_RECORD"},
		"no right to its id": {kerr.TransactionalIDAuthorizationFailed.Code, `the right Write on transactional-id "id" is missing`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrokers(t)
			b.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.ErrorForCode(test.code).(*kerr.Error), Count: 100})
			s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
			err := transaction(b.ctx, s, []Out{{Topic: outTopicName, Key: []byte("k")}})
			require.ErrorContains(t, err, test.says)
			require.ErrorIs(t, err, kerr.ErrorForCode(test.code))
			require.ErrorContains(t, s.Begin(), test.says, "it stays spoiled")
		})
	}
}

// A topic that is not there is waited for, but not for ever; a partition likewise.
func TestATopicThatIsNotThere(t *testing.T) {
	for name, opts := range older {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBrokers(t, opts...)
			c := b.connect(Config{})
			to := func(s *Session, topic string, partition int32) Out { return Out{To: s.To(topic, partition)} }
			for _, out := range []func(s *Session) Out{
				func(*Session) Out { return Out{Topic: "other"} },
				func(*Session) Out { return Out{Topic: "other", Key: []byte("k")} },
				func(s *Session) Out { return to(s, "other", 0) },
				func(s *Session) Out { return to(s, outTopicName, 4) },
			} {
				s := b.session(c, SessionConfig{TransactionalID: "id"})
				require.ErrorIs(t, transaction(b.ctx, s, []Out{out(s)}), kerr.UnknownTopicOrPartition)
			}
			created := make(chan error, 1)
			var asked atomic.Int32
			b.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
				b.KeepControl()
				late := slices.ContainsFunc(r.(*kmsg.MetadataRequest).Topics, func(t kmsg.MetadataRequestTopic) bool { return t.Topic != nil && *t.Topic == "late" })
				if late && asked.Add(1) == 3 {
					created <- b.CreateTopic("late", 2, nil)
				}
				return nil, nil, false
			})
			s := b.session(c, SessionConfig{TransactionalID: "id"})
			require.NoError(t, transaction(b.ctx, s, []Out{{Topic: "late", Key: []byte("k")}}))
			require.NoError(t, <-created)
		})
	}
}

// What was written to a topic is gone with it: a transaction that goes on in another one of the same name does not commit.
func TestATopicCreatedAnewEndsTheSession(t *testing.T) {
	for name, opts := range older {
		for _, seen := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", seen missing: ", seen), func(t *testing.T) {
				t.Parallel()
				b := newBrokers(t, opts...)
				b.create("short", 1)
				s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
				require.NoError(t, s.Begin())
				s.Produce(Out{Topic: "short", Key: []byte("k")})
				require.NoError(t, s.Flush(b.ctx))
				require.NoError(t, b.DeleteTopic("short"))
				if seen {
					require.NoError(t, s.out.look(b.ctx))
				}
				b.create("short", 1)
				require.ErrorIs(t, s.out.look(b.ctx), errAnew)
				s.out.stale = true
				s.Produce(Out{Topic: "short", Key: []byte("k")})
				require.ErrorContains(t, s.Flush(b.ctx), "deleted and created anew")
			})
		}
	}
}

// That a topic is another one is told at a transaction's beginning, too.
func TestATopicCreatedAnewBetweenTransactions(t *testing.T) {
	b := newBrokers(t)
	b.create("short", 1)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	require.NoError(t, transaction(b.ctx, s, []Out{{Topic: "short", Key: []byte("k")}}))
	require.NoError(t, b.DeleteTopic("short"))
	b.create("short", 3)
	s.age()
	require.ErrorIs(t, s.Begin(), errAnew)
}

// age makes what is known of the topics old.
func (s *Session) age() {
	old := *s.out.layout.Load()
	old.since = old.since.Add(-layoutAge)
	s.out.layout.Store(&old)
}

// Partitions that were added to a topic are used, some time later, from a transaction's beginning on.
func TestAddedPartitionsAreUsed(t *testing.T) {
	b := newBrokers(t)
	b.create("growing", 1)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	var records []Out
	for i := range 50 {
		records = append(records, Out{Topic: "growing", Key: fmt.Append(nil, i)})
	}
	require.NoError(t, transaction(b.ctx, s, records))
	_, err := b.admin().UpdatePartitions(b.ctx, 3, "growing")
	require.NoError(t, err)
	s.age()
	require.NoError(t, transaction(b.ctx, s, records))
	ends, err := b.admin().ListEndOffsets(b.ctx, "growing")
	require.NoError(t, err)
	require.Len(t, ends["growing"], 3)
	for p := range int32(3) {
		require.NotZero(t, ends["growing"][p].Offset)
	}
}

// answering answers produces: each partition by what fn says, 0 for yes, while it says so.
func (b *brokers) answering(fn func(topic string, partition int32) (code int16, offset int64, ok bool)) {
	b.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, p := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				var ok bool
				sp.Partition = p.Partition
				if sp.ErrorCode, sp.BaseOffset, ok = fn(rt.Topic, p.Partition); !ok {
					return nil, nil, false
				}
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
}

// A partition that cannot be written to holds the session up for a while only, and what kept it is said.
func TestAPartitionThatCannotBeWrittenTo(t *testing.T) {
	b := newBrokers(t)
	b.answering(func(string, int32) (int16, int64, bool) { return kerr.NotEnoughReplicas.Code, -1, true })
	c := b.connect(Config{})
	s, err := c.NewSession(b.ctx, SessionConfig{TransactionalID: "id", TransactionTimeout: time.Second, Writes: []string{outTopicName}})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Begin())
	began := time.Now()
	for i := range 100000 {
		s.Produce(Out{Topic: outTopicName, Key: fmt.Append(nil, i), Value: make([]byte, 100)})
	}
	require.Less(t, time.Since(began), 5*time.Second)
	require.ErrorIs(t, s.Flush(b.ctx), kerr.NotEnoughReplicas)
}

// A flush that its caller ends says what kept it.
func TestWhatKeptAFlushIsSaid(t *testing.T) {
	b := newBrokers(t)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var asked atomic.Int32
	b.answering(func(string, int32) (int16, int64, bool) {
		if asked.Add(1) == 2 { // the first refusal was read
			cancel()
		}
		return kerr.NotEnoughReplicas.Code, -1, true
	})
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	err := transaction(ctx, s, []Out{{Topic: outTopicName, Key: []byte("k")}})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "NOT_ENOUGH_REPLICAS")
}

// A right that only the topics' description tells is named.
func TestARightThatTheLayoutLacksIsNamed(t *testing.T) {
	b := newBrokers(t)
	c := b.connect(Config{})
	b.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		req := r.(*kmsg.MetadataRequest)
		if len(req.Topics) == 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		for _, rt := range req.Topics {
			mt := kmsg.NewMetadataResponseTopic()
			mt.Topic, mt.ErrorCode = rt.Topic, kerr.TopicAuthorizationFailed.Code
			resp.Topics = append(resp.Topics, mt)
		}
		return resp, nil, true
	})
	for _, direct := range []bool{false, true} {
		s := b.session(c, SessionConfig{TransactionalID: "id"})
		o := Out{Topic: outTopicName, Key: []byte("k")}
		if direct {
			o.To = s.To(outTopicName, 0)
		}
		err := transaction(b.ctx, s, []Out{o})
		require.True(t, IsAuthorization(err))
		require.ErrorContains(t, err, `the right Write on topic "out" is missing`)
	}
}

// Nothing is sent any more once something was refused: without transactions a later batch would be there without the earlier one.
func TestNothingIsSentAfterARefusal(t *testing.T) {
	b := newBrokers(t)
	var asked atomic.Int32
	b.answering(func(string, int32) (int16, int64, bool) {
		if asked.Add(1) == 1 {
			time.Sleep(100 * time.Millisecond)
		}
		return kerr.UnknownServerError.Code, -1, true
	})
	s := b.session(b.connect(Config{}), SessionConfig{})
	to := s.To(outTopicName, 0)
	require.NoError(t, s.Begin())
	for range 100000 {
		s.Produce(Out{To: to, Key: []byte("k"), Value: make([]byte, 100)})
	}
	require.ErrorIs(t, s.Flush(b.ctx), kerr.UnknownServerError)
	require.Equal(t, int32(1), asked.Load())
}

// A session that is dropped leaves nothing at the brokers that they keep for it.
func TestFetchSessionsAreClosed(t *testing.T) {
	b := newBrokers(t, kfake.NumBrokers(1))
	var closed atomic.Int32
	b.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		b.KeepControl()
		if r.(*kmsg.FetchRequest).SessionEpoch < 0 {
			closed.Add(1)
		}
		return nil, nil, false
	})
	c := b.connect(Config{})
	s := b.session(c, SessionConfig{TransactionalID: "id", Inputs: []Topic{{Name: outTopicName}}})
	s.Add(0, 0, 0, Epoch(0))
	s.Start()
	require.NoError(t, transaction(b.ctx, s, []Out{{To: s.To(outTopicName, 0), Key: []byte("k")}}))
	_, err := s.Poll(b.ctx, func(*topology.Record, bool) error { return nil })
	require.NoError(t, err)
	s.Close()
	require.NotZero(t, closed.Load())
}
