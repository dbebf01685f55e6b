package broker

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/penstock/penstock/processor/internal/topology"
)

const outTopicName = "out"

// brokers are embedded ones, with a topic of 4 partitions.
type brokers struct {
	*kfake.Cluster
	t   *testing.T
	ctx context.Context
}

func newBrokers(t *testing.T, opts ...kfake.Opt) *brokers {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(4, outTopicName)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return &brokers{cluster, t, ctx}
}

func (b *brokers) connect(cfg Config) *Cluster {
	b.t.Helper()
	cfg.Seeds = b.ListenAddrs()
	c, err := Connect(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(c.Close)
	return c
}

func (b *brokers) session(c *Cluster, cfg SessionConfig) *Session {
	b.t.Helper()
	cfg.TransactionTimeout, cfg.Writes = 10*time.Second, []string{outTopicName}
	s, err := c.NewSession(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(s.Close)
	return s
}

// committed reads so many committed records, and no more, in the order of their partitions.
func (b *brokers) committed(n int) (all [4][]*kgo.Record) {
	b.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.ListenAddrs()...), kgo.ConsumeTopics(outTopicName), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(b.t, err)
	defer cl.Close()
	got := 0
	for wait := b.ctx; ; {
		fetches := cl.PollFetches(wait)
		if wait.Err() != nil && fetches.NumRecords() == 0 {
			require.Equal(b.t, n, got)
			return all
		}
		fetches.EachRecord(func(r *kgo.Record) {
			got++
			all[r.Partition] = append(all[r.Partition], r)
		})
		if got >= n {
			short, cancel := context.WithTimeout(b.ctx, 200*time.Millisecond)
			defer cancel()
			wait = short
		}
	}
}

// transaction writes records as one transaction, whose offset is that of an input of its own.
func transaction(ctx context.Context, s *Session, records []Out) error {
	if err := s.Begin(); err != nil {
		return err
	}
	for _, r := range records {
		s.Produce(r)
	}
	if err := s.Flush(ctx); err != nil {
		return err
	}
	return s.Commit(ctx)
}

// Whatever a record holds, and however it is packed, it arrives as it was given, where it belongs, in order; no batch is larger than its
// topic takes.
func TestRecordsArriveAsTheyWereGiven(t *testing.T) {
	for _, test := range []struct {
		compression string
		limit       int
		id          string
		opts        []kfake.Opt
	}{
		{"", 1 << 20, "id", nil},
		{"none", 700, "id", nil},
		{"snappy", 20000, "", nil},
		{"lz4", 5000, "id", nil},
		{"zstd", 1 << 20, "", nil},
		{"gzip", 3000, "id", nil},
		{"snappy", 3000, "id", []kfake.Opt{kfake.MaxVersions(kversion.V2_8_0())}},
		{"snappy", 3000, "", []kfake.Opt{kfake.MaxVersions(kversion.V2_5_0())}},
	} {
		t.Run(fmt.Sprintf("%s %d %s %d", test.compression, test.limit, test.id, len(test.opts)), func(t *testing.T) {
			t.Parallel()
			b := newBrokers(t, test.opts...)
			var batches, largest atomic.Int64
			b.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				b.KeepControl()
				for _, rt := range r.(*kmsg.ProduceRequest).Topics {
					for _, p := range rt.Partitions {
						batches.Add(1)
						largest.Store(max(largest.Load(), int64(len(p.Records))))
					}
				}
				return nil, nil, false
			})
			c := b.connect(Config{Compression: test.compression})
			s := b.session(c, SessionConfig{TransactionalID: test.id, BatchBytes: func(string) int32 { return int32(test.limit) }})
			require.Equal(t, test.id != "" && test.opts == nil || test.id == "", s.out.v2)
			rng := rand.New(rand.NewPCG(uint64(test.limit), 1))
			some := func(most int) []byte {
				switch n := rng.IntN(most); n {
				case 0:
					return nil
				case 1:
					return []byte{}
				default:
					return bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, n)
				}
			}
			var want [4][]Out
			n := 0
			for range 5 {
				var records []Out
				for range 400 {
					o := Out{Topic: outTopicName, Key: some(40), Value: some(200), Timestamp: time.Now().UnixMilli() + rng.Int64N(2000) - 1000}
					for range rng.IntN(3) {
						o.Headers = append(o.Headers, topology.Header{Key: string(some(10)), Value: some(20)})
					}
					partition := int32(rng.IntN(4))
					switch {
					case rng.IntN(2) == 0:
						o.To = s.To(outTopicName, partition)
					case o.Key == nil:
						o.Key = []byte("key")
						fallthrough
					default:
						partition = PartitionOf(o.Key, 4)
					}
					want[partition] = append(want[partition], o)
					records = append(records, o)
					n++
				}
				require.NoError(t, transaction(b.ctx, s, records))
			}
			for partition, got := range b.committed(n) {
				require.Len(t, got, len(want[partition]))
				for i, r := range got {
					w := want[partition][i]
					require.Equal(t, w.Key, r.Key)
					require.Equal(t, w.Value, r.Value)
					require.Equal(t, w.Timestamp, r.Timestamp.UnixMilli())
					require.Len(t, r.Headers, len(w.Headers))
					for h := range r.Headers {
						require.Equal(t, w.Headers[h].Key, r.Headers[h].Key)
						require.Equal(t, w.Headers[h].Value, r.Headers[h].Value)
					}
				}
			}
			require.LessOrEqual(t, largest.Load(), int64(test.limit))
			require.Greater(t, batches.Load(), int64(n*100/test.limit/5), "records share batches")
		})
	}
}

// Records without a key spread over the partitions, batch by batch.
func TestRecordsWithoutAKeySpread(t *testing.T) {
	b := newBrokers(t)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	for range 40 {
		require.NoError(t, transaction(b.ctx, s, []Out{{Topic: outTopicName, Value: []byte("a")}, {Topic: outTopicName, Value: []byte("b")}}))
	}
	for _, got := range b.committed(80) {
		require.NotEmpty(t, got)
		require.Zero(t, len(got)%2)
	}
}

// cutting is a network that cuts connections about a produce: before it is written, or before its answer is read.
type cutting struct {
	rng  *rand.Rand
	left atomic.Int32
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
			_ = c.Close()
			return 0, net.ErrClosed
		default:
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
			var refuse atomic.Int32
			faults := []int16{kerr.NotLeaderForPartition.Code, kerr.ConcurrentTransactions.Code, kerr.RequestTimedOut.Code, kerr.NotEnoughReplicas.Code, kerr.UnknownTopicOrPartition.Code}
			b.answering(func(string, int32) (int16, int64, bool) {
				n := refuse.Add(-1)
				return faults[max(0, int(n))%len(faults)], -1, n >= 0
			})
			network := &cutting{rng: rng}
			c := b.connect(Config{Dial: network.dial})
			s := b.session(c, SessionConfig{TransactionalID: "id"})
			var want [4][]string
			n, replaced := 0, 0
			for i := range 60 {
				var records []Out
				for j := range 1 + rng.IntN(20) {
					records = append(records, Out{To: nil, Topic: outTopicName, Key: fmt.Append(nil, rng.IntN(9)), Value: fmt.Append(nil, i, " ", j), Timestamp: time.Now().UnixMilli()})
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

// A record that no batch takes is the session's end before it is sent.
func TestARecordLargerThanABatchIsNotSent(t *testing.T) {
	b := newBrokers(t)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id", BatchBytes: func(string) int32 { return 1000 }})
	require.NoError(t, transaction(b.ctx, s, []Out{{Topic: outTopicName, Key: []byte("k"), Value: make([]byte, 900)}}))
	err := transaction(b.ctx, s, []Out{{Topic: outTopicName, Key: []byte("k"), Value: make([]byte, 1000)}})
	require.ErrorIs(t, err, kerr.MessageTooLarge)
	require.ErrorContains(t, err, "value of 1000 bytes")
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
			s := b.session(c, SessionConfig{TransactionalID: "id"})
			time.AfterFunc(300*time.Millisecond, func() { b.create("late", 2) })
			require.NoError(t, transaction(b.ctx, s, []Out{{Topic: "late", Key: []byte("k")}}))
		})
	}
}

// older are embedded brokers of both protocols of transactions.
var older = map[string][]kfake.Opt{"transaction.version 2": nil, "transaction.version 1": {kfake.MaxVersions(kversion.V2_8_0())}}

func (b *brokers) create(topic string, partitions int32) {
	b.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.ListenAddrs()...))
	require.NoError(b.t, err)
	defer cl.Close()
	r, err := kadm.NewClient(cl).CreateTopic(b.ctx, partitions, 1, nil, topic)
	require.NoError(b.t, err)
	require.NoError(b.t, r.Err)
}

func (b *brokers) admin() *kadm.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.ListenAddrs()...))
	require.NoError(b.t, err)
	b.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
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
				_, err := b.admin().DeleteTopic(b.ctx, "short")
				require.NoError(t, err)
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
	_, err := b.admin().DeleteTopic(b.ctx, "short")
	require.NoError(t, err)
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

// What is on its way is bounded while a broker does not answer, and ends with the session's being cut.
func TestWhatIsOnItsWayIsBounded(t *testing.T) {
	b := newBrokers(t)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	require.NoError(t, transaction(b.ctx, s, []Out{{Topic: outTopicName, Key: []byte("k")}}))
	held := make(chan struct{})
	defer close(held)
	b.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.SleepControl(func() { <-held })
		return nil, nil, false
	})
	require.NoError(t, s.Begin())
	var produced atomic.Int64
	over := make(chan struct{})
	go func() {
		defer close(over)
		for i := range 100000 {
			s.Produce(Out{Topic: outTopicName, Key: fmt.Append(nil, i), Value: make([]byte, 100)})
			produced.Add(1)
		}
	}()
	require.Eventually(t, func() bool {
		before := produced.Load()
		time.Sleep(100 * time.Millisecond)
		return before > 0 && produced.Load() == before
	}, 10*time.Second, time.Millisecond)
	require.Less(t, produced.Load(), int64((roundBytes+gatherBytes)/100))
	s.Cut()
	<-over
	require.ErrorIs(t, s.Flush(b.ctx), errCut)
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

// A partition that cannot be written to holds the session up for a while only, with the others that it stands between; what
// kept it is said.
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

	s, err = c.NewSession(b.ctx, SessionConfig{TransactionalID: "id", TransactionTimeout: time.Second, Writes: []string{outTopicName}})
	require.NoError(t, err)
	defer s.Close()
	require.NoError(t, s.Begin())
	s.Produce(Out{Topic: outTopicName, Key: []byte("k")})
	ctx, cancel := context.WithTimeout(b.ctx, 100*time.Millisecond)
	defer cancel()
	err = s.Flush(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
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

// Rooms of batches are used again, but do not pile up.
func TestFreeBatchesAreBounded(t *testing.T) {
	b := newBrokers(t)
	b.create("wide", 300)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	for i := range int32(300) {
		require.NoError(t, transaction(b.ctx, s, []Out{{To: s.To("wide", i), Value: make([]byte, 50000)}}))
	}
	var room int
	for _, f := range s.out.free {
		room += cap(f.buf)
	}
	require.Equal(t, room, s.out.freeBytes)
	require.LessOrEqual(t, room, freeMost)
	require.Less(t, len(s.out.free), 5, "one batch at a time")
}

// A sequence goes on at 0 after the largest.
func TestSequencesWrap(t *testing.T) {
	require.Equal(t, int32(5), nextSequence(2, 3))
	require.Equal(t, int32(math.MaxInt32), nextSequence(math.MaxInt32-1, 1))
	require.Equal(t, int32(0), nextSequence(math.MaxInt32, 1))
	require.Equal(t, int32(1), nextSequence(math.MaxInt32-1, 3))
}

// A log whose end was known above a record is a cut one, which is told even after the session's end.
func TestABatchBelowAKnownEndIsTold(t *testing.T) {
	b := newBrokers(t)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	sound := s.Track(outTopicName, 1, 0, -1)
	require.NoError(t, transaction(b.ctx, s, []Out{{To: sound, Key: []byte("a")}, {To: sound, Key: []byte("b")}, {To: s.To(outTopicName, 2)}}))
	require.Equal(t, []int64{2, 1}, []int64{sound.End(), sound.Last()})
	cut := s.Track(outTopicName, 0, 10, 9)
	err := transaction(b.ctx, s, []Out{{To: cut, Key: []byte("k")}, {To: sound, Key: []byte("c")}})
	require.ErrorContains(t, err, "the topic lost records")
	s.Close()
	require.Equal(t, &CutError{outTopicName, 0, 0, 10}, s.Lost())
}

// R6: it is told too where another partition of the same round is refused, as it is by a broker that lost what it knew of the producer.
func TestABatchBelowAKnownEndIsToldBesideARefusal(t *testing.T) {
	for i := range 10 {
		b := newBrokers(t, kfake.NumBrokers(1+i%2))
		b.answering(func(_ string, partition int32) (int16, int64, bool) {
			if partition == 0 {
				return 0, 5, true
			}
			return kerr.OutOfOrderSequenceNumber.Code, -1, true
		})
		s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
		var records []Out
		for p := range int32(4) {
			records = append(records, Out{To: s.Track(outTopicName, p, 10, 9), Key: []byte("k")})
		}
		slices.Reverse(records)
		require.Error(t, transaction(b.ctx, s, records))
		s.Close()
		require.Equal(t, &CutError{outTopicName, 0, 5, 10}, s.Lost())
	}
}

func BenchmarkProduce(b *testing.B) {
	key, value := []byte("session-0012345"), []byte(`{"sessionId":"session-0012345","currentBalance":1234.50,"depositCurrentBalance":false}`)
	batch := &recordBatch{}
	batch.reset()
	o := Out{Topic: outTopicName, Key: key, Value: value, Timestamp: time.Now().UnixMilli()}
	pack, err := Config{}.compressor()
	require.NoError(b, err)
	var scratch bytes.Buffer
	b.ReportAllocs()
	for b.Loop() {
		if !batch.add(&o, 256<<10) {
			batch.seal(pack, &scratch, sender{}, 0)
			batch.reset()
		}
	}
}
