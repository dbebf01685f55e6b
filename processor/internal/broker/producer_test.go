package broker

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/penstock/penstock/processor/internal/topology"
)

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

// transaction writes records as one transaction, and commits it without offsets.
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
			require.Less(t, batches.Load(), int64(n/2), "records share batches")
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

// A record that no batch takes is the session's end before it is sent.
func TestARecordLargerThanABatchIsNotSent(t *testing.T) {
	b := newBrokers(t)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id", BatchBytes: func(string) int32 { return 1000 }})
	require.NoError(t, transaction(b.ctx, s, []Out{{Topic: outTopicName, Key: []byte("k"), Value: make([]byte, 900)}}))
	err := transaction(b.ctx, s, []Out{{Topic: outTopicName, Key: []byte("k"), Value: make([]byte, 1000)}})
	require.ErrorIs(t, err, kerr.MessageTooLarge)
	require.ErrorContains(t, err, "value of 1000 bytes")
}

// What is on its way is bounded while a broker does not answer, and ends with the session's being cut.
func TestWhatIsOnItsWayIsBounded(t *testing.T) {
	b := newBrokers(t)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	require.NoError(t, transaction(b.ctx, s, []Out{{Topic: outTopicName, Key: []byte("k")}}))
	held := make(chan struct{})
	defer close(held)
	b.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		<-held
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

// Rooms of batches wait for their next use, but do not pile up.
func TestFreeBatchesAreBounded(t *testing.T) {
	p := &producer{}
	for range 5 {
		p.flying = append(p.flying, &recordBatch{buf: make([]byte, 0, freeMost/2)})
	}
	p.landed()
	require.Len(t, p.free, 2)
	require.Equal(t, freeMost, p.freeBytes)
	require.Empty(t, p.flying)
}

// A sequence goes on at 0 after the largest.
func TestSequencesWrap(t *testing.T) {
	require.Equal(t, int32(5), nextSequence(2, 3))
	require.Equal(t, int32(math.MaxInt32), nextSequence(math.MaxInt32-1, 1))
	require.Equal(t, int32(0), nextSequence(math.MaxInt32, 1))
	require.Equal(t, int32(1), nextSequence(math.MaxInt32-1, 3))
}
