package broker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/processor/internal/topology"
)

// SessionConfig is what a session is made from.
type SessionConfig struct {
	TransactionalID    string // empty: no transactions, an idempotent producer
	TransactionTimeout time.Duration
	Inputs             []Topic
	Group              string                   // whose offsets its transactions commit; empty: what became of the last one is not looked at
	Writes             []string                 // all topics that they write to
	Doubt              bool                     // the last transaction of this id may not have ended everywhere, as far as a predecessor knows
	BatchBytes         func(topic string) int32 // bound of a batch, by topic
	Sessions           int                      // of the process, which share what is fetched ahead; 0: one
}

// Session is one worker's client. It reads partitions directly, at offsets that its owner chose, and produces. After
// any error from its methods it is spoiled: close it and make another (R3). It is used by one goroutine.
type Session struct {
	cluster *Cluster
	cfg     SessionConfig
	cl      *kgo.Client
	fetches *fetchSize
	inputs  map[string]int
	stable  map[place]int64
	epochs  map[place]Epoch      // of the last record
	added   map[place]kgo.Offset // not yet read
	out     *producer

	failed  atomic.Pointer[error] // what spoiled it first
	lost    atomic.Pointer[CutError]
	ending  atomic.Bool        // the last transaction's end was asked for, and nothing of the next one is written
	life    context.Context    // of the client
	cut     context.CancelFunc // ends it, whatever the client is at
	sent    int                // records of this transaction
	record  topology.Record
	ahead   Ahead
	next    []*kgo.Record // that ahead is told of, and how it asks for their keys
	nextKey func(i int) []byte
}

// fetchMaxWait is how long a broker waits for something new before it answers with nothing, and so how long a partition that was
// taken over may wait for its first fetch.
const fetchMaxWait = 250 * time.Millisecond

// NewSession makes a client and asks for its producer id, which ends whatever transaction a predecessor of the same
// transactional id left open.
func (c *Cluster) NewSession(ctx context.Context, cfg SessionConfig) (*Session, error) {
	s := &Session{cluster: c, cfg: cfg, inputs: map[string]int{}, stable: map[place]int64{}, epochs: map[place]Epoch{}, added: map[place]kgo.Offset{}}
	for i, t := range cfg.Inputs {
		s.inputs[t.Name] = i
	}
	if err := c.settle(ctx, cfg); err != nil {
		return nil, err
	}
	s.fetches = newFetchSize(cfg.Sessions, len(c.cl.DiscoveredBrokers()))
	s.life, s.cut = context.WithCancel(context.Background())
	opts := c.cfg.opts(
		kgo.WithContext(s.life),
		kgo.WithHooks(&away{s}, s.fetches),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.WithDecompressor(c.unpack),
		kgo.FetchMaxWait(fetchMaxWait),
		kgo.FetchMaxBytes(s.fetches.bytes),
		kgo.FetchMaxPartitionBytes(s.fetches.bytes/fetchPartitions),
	)
	v2 := true
	if cfg.TransactionalID != "" {
		var err error
		if v2, err = c.transactionV2(ctx); err != nil {
			s.cut()
			return nil, err
		}
	}
	cl, err := kgo.NewClient(append(opts, kgo.MaxVersions(versionsOf(v2)))...)
	if err != nil {
		s.cut()
		return nil, err
	}
	s.cl = cl
	s.out = newProducer(s, v2)
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	err = afterLast(ctx, func() (err error) {
		s.out.from, err = initProducer(ctx, cl, cfg)
		return err
	})
	if errors.Is(err, kerr.InvalidTransactionTimeout) {
		err = fmt.Errorf("transaction timeout %v is longer than the broker's transaction.max.timeout.ms of %s: lower --transaction-timeout, or raise the broker's (%w)",
			cfg.TransactionTimeout, c.brokerConfig(ctx, "transaction.max.timeout.ms"), err)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close drops the client without a word to the broker: an open transaction stays open until it is ended by a successor.
func (s *Session) Close() {
	s.out.close()
	s.cl.CloseAllowingRebalance()
	s.cut()
}

// Cut ends whatever the session is at, Produce too, which waits for room among the records on their way; it is spoiled then. It may be
// called by any goroutine.
func (s *Session) Cut() { s.end(errCut) }

func (s *Session) end(why error) {
	s.failed.CompareAndSwap(nil, &why)
	s.cut()
}

var errCut = errors.New("the session was cut")

// away is told by the client of brokers that go away. Between a transaction's end and the next one's first record, that is the
// session's end, before the client gets to trying again: had the end not reached every partition, which settle finds out,
// the next transaction would decide on the records of this one.
type away struct{ s *Session }

// OnBrokerRead implements kgo.HookBrokerRead.
func (a *away) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	a.failed(err)
}

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (a *away) OnBrokerWrite(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	a.failed(err)
}

func (a *away) failed(err error) {
	if err != nil && !errors.Is(err, context.Canceled) && a.s.ending.Load() { // which a read is when its partition is taken away
		a.s.end(fmt.Errorf("a broker went away while a transaction ended: %w", err))
	}
}

// Add prepares to read an input's partition at an offset, which the log of that epoch led to.
func (s *Session) Add(input int, partition int32, offset int64, epoch Epoch) {
	s.epochs[place{input, partition}] = epoch
	s.added[place{input, partition}] = kgo.NewOffset().At(offset).WithEpoch(epoch.kafka())
}

// Start begins to read what was added since the last Start, all by one fetch: a partition that comes later waits for the answer to
// the last one, which comes late where the partitions that it asks for have nothing new.
func (s *Session) Start() {
	if len(s.added) == 0 {
		return
	}
	m := map[string]map[int32]kgo.Offset{}
	for at, offset := range s.added {
		topic := s.cfg.Inputs[at.input].Name
		if m[topic] == nil {
			m[topic] = map[int32]kgo.Offset{}
		}
		m[topic][at.partition] = offset
	}
	clear(s.added)
	s.cl.AddConsumePartitions(m)
}

// Remove stops reading partitions of all inputs; what was fetched of them is dropped.
func (s *Session) Remove(partition int32) {
	m := map[string][]int32{}
	for input, t := range s.cfg.Inputs {
		delete(s.added, place{input, partition})
		m[t.Name] = []int32{partition}
	}
	s.cl.RemoveConsumePartitions(m)
}

// FetchError is a partition that cannot be read.
type FetchError struct {
	Topic     string
	Partition int32
	Err       error
}

func (e *FetchError) Error() string {
	return fmt.Sprintf("read topic %s partition %d: %v", e.Topic, e.Partition, e.Err)
}

func (e *FetchError) Unwrap() error { return e.Err }

// OutOfRange reports whether the offset read at is not in the partition.
func (e *FetchError) OutOfRange() bool { return errors.Is(e.Err, kerr.OffsetOutOfRange) }

// noWait is how the client is asked for what it has at hand.
var noWait context.Context

// Ahead is told, once in so many records, of the n records that come next in a partition, by their keys. What it does may
// only make the calls that follow faster. The keys are those of the records.
type Ahead struct {
	Every int
	Fn    func(partition int32, n int, key func(i int) []byte)
}

// SetAhead sets it, for all polls.
func (s *Session) SetAhead(a Ahead) {
	s.ahead = a
	s.nextKey = func(i int) []byte { return s.next[i].Key } // once, not in each call
}

// Buffered is Poll for what has been fetched already.
func (s *Session) Buffered(fn func(r *topology.Record, control bool) error) (n int, err error) {
	return s.take(s.cl.PollFetches(noWait), fn)
}

// Poll calls fn with what was fetched, a marker as a record with control true. It waits for something until ctx is done. The record is valid during the call, its key, value and headers for as long as they are
// kept. n is how many records there were. All that was fetched is taken, so that the next fetch is under way meanwhile.
func (s *Session) Poll(ctx context.Context, fn func(r *topology.Record, control bool) error) (n int, err error) {
	return s.take(s.cl.PollFetches(ctx), fn)
}

func (s *Session) take(fetches kgo.Fetches, fn func(r *topology.Record, control bool) error) (n int, err error) {
	if s.life.Err() != nil {
		return 0, *s.failed.Load()
	}
	if bytes, changed := s.fetches.fit(); changed {
		s.cl.UpdateFetchMaxBytes(bytes, bytes/fetchPartitions)
	}
	for _, f := range fetches {
		for ti := range f.Topics {
			t := &f.Topics[ti]
			input, ours := s.inputs[t.Topic]
			for pi := range t.Partitions {
				p := &t.Partitions[pi]
				if p.Err != nil && !errors.Is(p.Err, context.Canceled) && !errors.Is(p.Err, context.DeadlineExceeded) {
					err = errors.Join(err, &FetchError{t.Topic, p.Partition, p.Err})
				}
				if !ours {
					continue
				}
				if p.LastStableOffset >= 0 {
					s.stable[place{input, p.Partition}] = p.LastStableOffset
				}
				if n := len(p.Records); n > 0 {
					s.epochs[place{input, p.Partition}] = epochOf(p.Records[n-1].LeaderEpoch)
				}
				for i, r := range p.Records {
					if s.ahead.Every > 0 && i%s.ahead.Every == 0 {
						s.next = p.Records[i:]
						s.ahead.Fn(p.Partition, len(s.next), s.nextKey)
					}
					n++
					if e := fn(s.convert(input, r), r.Attrs.IsControl()); e != nil {
						return n, e
					}
				}
			}
		}
	}
	return n, err
}

type place struct {
	input     int
	partition int32
}

// Stable is the last stable offset of an input's partition as the last fetch saw it, -1 before that.
func (s *Session) Stable(input int, partition int32) int64 {
	if o, ok := s.stable[place{input, partition}]; ok {
		return o
	}
	return -1
}

// Epoch is the leader epoch of the last record that was read of an input's partition, or of a later one.
func (s *Session) Epoch(input int, partition int32) Epoch { return s.epochs[place{input, partition}] }

func (s *Session) convert(input int, r *kgo.Record) *topology.Record {
	s.record = topology.Record{Input: input, Partition: r.Partition, Offset: r.Offset,
		Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
	if len(r.Headers) > 0 {
		hs := make([]topology.Header, len(r.Headers))
		for i, h := range r.Headers {
			hs[i] = topology.Header(h)
		}
		s.record.Headers = hs
	}
	return &s.record
}

// Out is a record to produce.
type Out struct {
	Topic     string
	To        *Tracker // where its partition is given; Topic is not read then
	Key       []byte
	Value     []byte
	Headers   []topology.Header
	Timestamp int64 // Unix milliseconds
}

// Produce takes a record, whose bytes are copied. Flush tells of its failure.
func (s *Session) Produce(o Out) {
	s.sent++
	s.out.add(&o)
}

// Sent is how many records were produced since the last End.
func (s *Session) Sent() int { return s.sent }

// Flush waits until every record is acknowledged and returns the first failure.
func (s *Session) Flush(ctx context.Context) error {
	ctx, cancel := s.living(ctx)
	defer cancel()
	err := s.out.flush(ctx)
	if p := s.failed.Load(); p != nil {
		return fmt.Errorf("produce: %w", *p)
	}
	if err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// living is ctx until the client was cut.
func (s *Session) living(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}
