package broker

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// producer writes a session's records, by way of its client's connections. What is added gathers in a batch of each partition; a
// round sends a batch of each, packed, in one request to each broker, while the next ones gather. There is one round at a
// time, so that a partition's batches arrive in order, and what is on its way is bounded. A transaction's records are seen by
// nobody before its end, so nothing is sent for the sake of time: a round begins when there is enough, or with a flush.
//
// Without transactions, readers see the last records of a round that is not full at the commit's flush.
//
// The client's own producer needs, for each record, 160 bytes, several locks and a callback; see PERFORMANCE.md.
//
// Its methods are for one goroutine; a round is another.
type producer struct {
	cluster *Cluster
	cl      *kgo.Client
	life    context.Context
	end     context.CancelFunc
	cfg     SessionConfig
	v2      bool                   // transaction.version >= 2
	failed  *atomic.Pointer[error] // the session's; set: nothing is taken any more
	ending  *atomic.Bool           // the session's
	trouble atomic.Pointer[error]  // of the last try, which may pass

	from   sender
	stale  bool                   // layout is; the round's
	layout atomic.Pointer[layout] // of the topics

	topics    map[string]*outTopic
	last      *outTopic // that was asked for
	placement *Placement
	waiting   []*outPartition // that have an open batch
	bytes     int             // of these batches

	round   chan struct{} // closed when the round is over; nil: there is none
	flying  []*recordBatch
	scratch bytes.Buffer // the round's

	free      []*recordBatch
	freeBytes int // their room
}

// outTopic is a topic that is written to.
type outTopic struct {
	name       string
	limit      int // bytes of a batch
	count      int32
	keyless    *outPartition // where records without a key go, batch by batch
	partitions []*outPartition
}

// outPartition is one of its partitions.
type outPartition struct {
	topic    *outTopic
	number   int32
	sequence int32 // of the next batch; the round's
	enlisted bool  // a part of the transaction, where the broker must be told; the round's
	open     *recordBatch
	full     []*recordBatch // before it
}

// What gathers, in bytes before it is packed.
const (
	roundBytes  = 512 << 10 // begins a round
	gatherBytes = 1 << 20   // waits for the end of the one before
	freeMost    = 2 << 20   // room of batches that wait for their next use
)

// defaultBatchBytes bounds a batch where nobody says more: what a broker takes by default, about.
const defaultBatchBytes = 1 << 20

func newProducer(s *Session, v2 bool) *producer {
	p := &producer{cluster: s.cluster, cl: s.cl, cfg: s.cfg, v2: v2, failed: &s.failed, ending: &s.ending,
		stale: true, topics: map[string]*outTopic{}, placement: NewPlacement()}
	p.life, p.end = context.WithCancel(s.life)
	return p
}

// begin is called before the first record of a transaction.
func (p *producer) begin() error {
	l := p.layout.Load()
	if l == nil {
		return nil
	}
	if l.old() {
		ctx, cancel := p.patience()
		defer cancel()
		if err := p.lasting(p.look(ctx)); err != nil {
			return err
		}
		l = p.layout.Load()
	}
	for name, t := range p.topics {
		t.count = int32(len(l.topics[name].leaders))
	}
	return nil
}

// patience bounds what the session's goroutine waits for: it has other duties.
func (p *producer) patience() (context.Context, context.CancelFunc) {
	most := settleTimeout
	if p.cfg.TransactionalID != "" {
		most = min(most, max(p.cfg.TransactionTimeout, time.Second))
	}
	return context.WithTimeout(p.life, most)
}

// add takes a record, whose bytes are copied. It waits while too much is on its way.
func (p *producer) add(o *Out) {
	if p.failed.Load() != nil {
		return
	}
	part, err := p.partition(o)
	if err != nil {
		p.fail(err)
		return
	}
	if part.open == nil {
		p.open(part)
	}
	before := len(part.open.buf)
	if !part.open.add(o, part.topic.limit) {
		if part.open.records > 0 {
			part.full = append(part.full, part.open)
			p.open(part)
		}
		if before = len(part.open.buf); !part.open.add(o, part.topic.limit) {
			p.fail(fmt.Errorf("topic %s partition %d: key of %d and value of %d bytes: %w", part.topic.name, part.number, len(o.Key), len(o.Value), kerr.MessageTooLarge))
			return
		}
	}
	if o.To != nil && o.To.lost != nil {
		part.open.tracker = o.To
	}
	if p.bytes += len(part.open.buf) - before; p.bytes >= roundBytes {
		p.more()
	}
}

func (p *producer) fail(err error) { p.failed.CompareAndSwap(nil, &err) }

// open begins a batch of a partition.
func (p *producer) open(part *outPartition) {
	b := &recordBatch{}
	if n := len(p.free) - 1; n >= 0 {
		b, p.free[n] = p.free[n], nil
		p.free = p.free[:n]
		p.freeBytes -= cap(b.buf)
	}
	if part.open == nil {
		p.waiting = append(p.waiting, part)
	}
	b.reset()
	b.to, part.open = part, b
	p.bytes += len(b.buf)
}

// partition is where a record goes.
func (p *producer) partition(o *Out) (*outPartition, error) {
	if o.To != nil {
		if o.To.part == nil {
			o.To.part = p.topic(o.To.topic).at(o.To.partition)
		}
		return o.To.part, nil
	}
	t := p.last
	if t == nil || t.name != o.Topic {
		t = p.topic(o.Topic)
		p.last = t
	}
	if t.count == 0 {
		ctx, cancel := p.patience()
		defer cancel()
		if err := p.know(ctx, t); err != nil {
			return nil, err
		}
	}
	if o.Key == nil {
		if t.keyless == nil || t.keyless.open == nil {
			t.keyless = t.at(rand.Int32N(t.count))
		}
		return t.keyless, nil
	}
	return t.at(p.placement.Of(o.Key, t.count)), nil
}

func (p *producer) topic(name string) *outTopic {
	t, ok := p.topics[name]
	if !ok {
		t = &outTopic{name: name, limit: defaultBatchBytes}
		if p.cfg.BatchBytes != nil {
			t.limit = int(p.cfg.BatchBytes(name))
		}
		p.topics[name] = t
	}
	return t
}

func (t *outTopic) at(partition int32) *outPartition {
	for int32(len(t.partitions)) <= partition {
		t.partitions = append(t.partitions, nil)
	}
	if t.partitions[partition] == nil {
		t.partitions[partition] = &outPartition{topic: t, number: partition}
	}
	return t.partitions[partition]
}

// more begins a round, unless there is one and what gathered meanwhile is not yet too much.
func (p *producer) more() {
	if p.round != nil {
		select {
		case <-p.round:
		default:
			if p.bytes < gatherBytes || !p.await() {
				return
			}
		}
		p.landed()
	}
	if p.failed.Load() == nil {
		p.launch()
	}
}

// await waits for the round's end, but not for long: a partition without a leader may keep it.
func (p *producer) await() bool {
	ctx, cancel := p.patience()
	defer cancel()
	select {
	case <-p.round:
		return true
	case <-ctx.Done():
		p.fail(p.overdue(ctx.Err()))
		return false
	}
}

// launch begins a round.
func (p *producer) launch() {
	still := p.waiting[:0]
	for _, part := range p.waiting {
		var b *recordBatch
		if len(part.full) > 0 {
			b = part.full[0]
			part.full = slices.Delete(part.full, 0, 1)
		} else {
			b, part.open = part.open, nil
		}
		p.bytes -= len(b.buf)
		p.flying = append(p.flying, b)
		if part.open != nil {
			still = append(still, part)
		}
	}
	clear(p.waiting[len(still):])
	p.waiting = still
	round := make(chan struct{})
	p.round = round
	go func() {
		defer close(round)
		p.send(p.flying)
	}()
}

// landed takes the batches of a round that is over.
func (p *producer) landed() {
	p.round = nil
	for i, b := range p.flying {
		p.flying[i] = nil
		if p.freeBytes+cap(b.buf) <= freeMost {
			p.freeBytes += cap(b.buf)
			p.free = append(p.free, b)
		}
	}
	p.flying = p.flying[:0]
}

// flush waits until all that was added was written, or something failed.
func (p *producer) flush(ctx context.Context) error {
	for {
		if p.round != nil {
			select {
			case <-p.round:
				p.landed()
			case <-ctx.Done():
				return p.overdue(ctx.Err())
			}
		}
		if len(p.waiting) == 0 || p.failed.Load() != nil {
			return nil
		}
		p.launch()
	}
}

// ended is called when a transaction has ended, and says who is sender from now on.
func (p *producer) ended(from sender) {
	anew := from != p.from
	p.from = from
	for _, t := range p.topics {
		for _, part := range t.partitions {
			if part == nil {
				continue
			}
			part.enlisted = false
			if anew {
				part.sequence = 0
			}
		}
	}
}

// close ends what is on its way.
func (p *producer) close() {
	p.end()
	if p.round != nil {
		<-p.round
	}
}
