package broker

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	sendTimeout  = 10 * time.Second // of a broker that waits for its followers
	pauseFirst   = 5 * time.Millisecond
	pauseLongest = time.Second
	unknownTries = 8 // of a topic or partition that a broker does not know, which may be new
)

// send writes a round's batches. It tries again, for as long as the producer lives, what may go right another time: a broker
// that has a batch already knows it by its sequence.
func (p *producer) send(batches []*recordBatch) {
	for _, b := range batches {
		b.seal(p.cluster.pack, &p.scratch, p.from, b.to.sequence)
		b.to.sequence = nextSequence(b.to.sequence, b.records)
	}
	for pause := pauseFirst; ; {
		again, err := p.try(batches)
		if err != nil {
			p.fail(err)
		}
		if len(again) == 0 || p.failed.Load() != nil {
			return
		}
		if wait(p.life, pause) != nil {
			p.fail(errCut)
			return
		}
		if pause = min(2*pause, pauseLongest); len(again) < len(batches) {
			pause = pauseFirst
		}
		batches = again
	}
}

// nextSequence is that of the batch after one of so many records.
func nextSequence(sequence, records int32) int32 { return (sequence + records) & math.MaxInt32 }

// try returns what is to be sent again, and the first error that lasts. All that was written is looked at (R6).
func (p *producer) try(batches []*recordBatch) (again []*recordBatch, err error) {
	if p.stale {
		var topics []string
		for _, b := range batches {
			topics = append(topics, b.to.topic.name)
		}
		if err := p.look(p.life, topics...); err != nil {
			return batches, p.lasting(err)
		}
		p.stale = false
	}
	if p.from.transactional && !p.v2 {
		if err := p.enlist(batches); err != nil {
			p.stale = IsUnknownTopic(err)
			return batches, cmp.Or(p.lasting(err), p.unknown(err, batches...))
		}
	}
	l := p.layout.Load()
	byLeader := map[int32]*shipment{}
	for _, b := range batches {
		leader := l.leader(b.to)
		if leader < 0 {
			p.stale = true
			again = append(again, b)
			if fault := l.fault(b.to.topic.name, b.to.number); fault != nil {
				err = cmp.Or(err, p.refused(b, fault))
			}
			continue
		}
		if byLeader[leader] == nil {
			byLeader[leader] = &shipment{}
		}
		byLeader[leader].batches = append(byLeader[leader].batches, b)
	}
	var all sync.WaitGroup
	for leader, s := range byLeader {
		s.request(p, l)
		all.Go(func() {
			resp, err := p.cl.Broker(int(leader)).Request(p.life, s.req)
			if s.err = err; err == nil {
				s.resp = resp.(*kmsg.ProduceResponse)
			}
		})
	}
	all.Wait()
	for _, s := range byLeader {
		left, fault := p.arrived(s)
		err = cmp.Or(err, fault)
		again = append(again, left...)
	}
	return again, err
}

// refused returns why a batch will not be written, if it will not.
func (p *producer) refused(b *recordBatch, fault error) error {
	fault = fmt.Errorf("topic %s partition %d: %w", b.to.topic.name, b.to.number, p.lacks(fault, b.to.topic.name))
	return cmp.Or(p.lasting(fault), p.unknown(fault, b))
}

// lacks turns a refusal into the right that is missing.
func (p *producer) lacks(err error, topic string) error {
	return lackingWithin(p.cfg.TransactionalID, err, Write, "topic", topic)
}

// unknown counts how often a partition was not to be found, if fault says that, and returns it in the end.
func (p *producer) unknown(fault error, batches ...*recordBatch) error {
	if !IsUnknownTopic(fault) {
		return nil
	}
	most := 0
	for _, b := range batches {
		b.unknown++
		most = max(most, b.unknown)
	}
	if most < unknownTries {
		return nil
	}
	return fault
}

// lasting returns err if it will not go away.
func (p *producer) lasting(err error) error {
	var said *kerr.Error
	switch {
	case err == nil:
		return nil
	case p.life.Err() != nil:
		return errCut
	case errors.As(err, &said) && !mayPass(said), errors.Is(err, errAnew):
		return err
	}
	p.trouble.Store(&err)
	if log := p.cluster.cfg.Logger; log != nil {
		log.Debug("records are sent again", "error", err)
	}
	return nil
}

// overdue is the error of a wait that ended too early: why it did, and what kept it.
func (p *producer) overdue(ended error) error {
	if p.life.Err() != nil {
		return errCut
	}
	if trouble := p.trouble.Load(); trouble != nil {
		return fmt.Errorf("%w: %w", ended, *trouble)
	}
	return ended
}

// mayPass reports whether what a broker said may be another thing when it is asked again.
func mayPass(err *kerr.Error) bool {
	return err == kerr.ConcurrentTransactions || err.Retriable && err != kerr.CorruptMessage
}

// shipment is what one broker gets, and what it says.
type shipment struct {
	batches []*recordBatch
	req     *kmsg.ProduceRequest
	resp    *kmsg.ProduceResponse
	err     error
}

func (s *shipment) request(p *producer, l *layout) {
	s.req = kmsg.NewPtrProduceRequest()
	s.req.Acks, s.req.TimeoutMillis = -1, int32(sendTimeout.Milliseconds())
	if p.from.transactional {
		s.req.TransactionID = &p.cfg.TransactionalID
	}
	topics := map[string]int{}
	for _, b := range s.batches {
		name := b.to.topic.name
		i, ok := topics[name]
		if !ok {
			i = len(s.req.Topics)
			topics[name] = i
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = name, l.topics[name].id
			s.req.Topics = append(s.req.Topics, t)
		}
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = b.to.number, b.buf
		s.req.Topics[i].Partitions = append(s.req.Topics[i].Partitions, part)
	}
}

// arrived looks at all of an answer, and returns what is to be sent again, and the first error that lasts.
func (p *producer) arrived(s *shipment) (again []*recordBatch, err error) {
	if s.err != nil {
		p.stale = true
		return s.batches, p.lasting(s.err)
	}
	type key struct {
		topic     string
		partition int32
	}
	names := map[[16]byte]string{} // newer answers tell the id only
	for _, t := range s.req.Topics {
		names[t.TopicID] = t.Topic
	}
	answers := map[key]*kmsg.ProduceResponseTopicPartition{}
	for ti := range s.resp.Topics {
		t := &s.resp.Topics[ti]
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for pi := range t.Partitions {
			answers[key{name, t.Partitions[pi].Partition}] = &t.Partitions[pi]
		}
	}
	for _, b := range s.batches {
		a, ok := answers[key{b.to.topic.name, b.to.number}]
		if !ok {
			again = append(again, b)
			continue
		}
		fault := kerr.ErrorForCode(a.ErrorCode)
		if fault == nil || errors.Is(fault, kerr.DuplicateSequenceNumber) {
			err = cmp.Or(err, p.written(b, a.BaseOffset))
			continue
		}
		p.stale = p.stale || !errors.Is(fault, kerr.ConcurrentTransactions)
		if a.ErrorMessage != nil && !strings.Contains(fault.Error(), *a.ErrorMessage) {
			fault = fmt.Errorf("%w (%s)", fault, *a.ErrorMessage)
		}
		err = cmp.Or(err, p.refused(b, fault))
		again = append(again, b)
	}
	return again, err
}

// written is told where a batch was written.
func (p *producer) written(b *recordBatch, offset int64) error {
	if traffic := p.cluster.cfg.Traffic; traffic != nil {
		traffic.produced(b.to.topic.name, int(b.records), len(b.buf))
	}
	p.ending.Store(false)
	p.trouble.Store(nil)
	if b.tracker == nil {
		return nil
	}
	return b.tracker.follow(offset, int64(b.records))
}

// enlist makes the batches' partitions a part of the transaction, as transaction.version 1 needs it before they are written to.
func (p *producer) enlist(batches []*recordBatch) error {
	list := map[string][]int32{}
	for _, b := range batches {
		if !b.to.enlisted {
			list[b.to.topic.name] = append(list[b.to.topic.name], b.to.number)
		}
	}
	if err := addPartitions(p.life, p.cl, p.cfg.TransactionalID, p.from, list); err != nil {
		return err
	}
	for _, b := range batches {
		b.to.enlisted = true
	}
	return nil
}
