package broker

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// Tracker leads to one directly addressed partition, and may follow what is written there.
type Tracker struct {
	topic     string
	partition int32
	part      *outPartition
	end       int64
	last      int64
	lost      *atomic.Pointer[CutError] // of the session; nil: it does not follow
}

// CutError is a log whose end lay above an offset that a record was written at since.
type CutError struct {
	Topic     string
	Partition int32
	At, End   int64
}

func (e *CutError) Error() string {
	return fmt.Sprintf("topic %s partition %d ended at offset %d or above, but a record was written at %d: the topic lost records", e.Topic, e.Partition, e.End, e.At)
}

// To leads to a partition.
func (s *Session) To(topic string, partition int32) *Tracker {
	return &Tracker{topic: topic, partition: partition}
}

// Track makes a tracker for a partition, whose end is known to be at an offset or above, and whose last record that was
// written by way of a tracker is at last. A record that is written below the end is a *CutError of Flush.
func (s *Session) Track(topic string, partition int32, end, last int64) *Tracker {
	return &Tracker{topic: topic, partition: partition, end: end, last: last, lost: &s.lost}
}

// follow is told where a batch was written.
func (t *Tracker) follow(offset, records int64) error {
	if offset < 0 {
		return errNoOffset
	}
	if offset < t.end {
		cut := &CutError{t.topic, t.partition, offset, t.end}
		t.lost.CompareAndSwap(nil, cut)
		return cut
	}
	t.end, t.last = offset+records, offset+records-1
	return nil
}

// errNoOffset says that a record was written, but not where: of a batch that was sent again, a broker may have forgotten it.
var errNoOffset = errors.New("the broker does not say where a record was written")

// Lost is what the session's trackers found first, nil for nothing. Valid after Close.
func (s *Session) Lost() *CutError { return s.lost.Load() }

// End is the offset after the last record that was produced through t, else what Track was given. Valid after Flush.
func (t *Tracker) End() int64 { return t.end }

// Last is the offset of the last record that was produced through t, else what Track was given. Valid after Flush.
func (t *Tracker) Last() int64 { return t.last }
