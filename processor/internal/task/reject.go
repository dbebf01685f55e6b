package task

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/penstock/penstock/processor/internal/topology"
)

// Headers of this package's records.
const (
	HeaderReason    = "penstock.error.reason"
	HeaderMessage   = "penstock.error.message"
	HeaderTopic     = "penstock.error.topic"
	HeaderPartition = "penstock.error.partition"
	HeaderOffset    = "penstock.error.offset"
	HeaderTime      = "penstock.error.timestamp"
	HeaderTruncated = "penstock.error.truncated" // original sizes: "key=N value=N"
	HeaderHash      = "penstock.error.sha256"    // of the original key and value, joined
	HeaderTimer     = "penstock.error.timer"     // the name of a timer that failed; the timestamp is its deadline
	HeaderTimestamp = "penstock.timestamp"       // an input's timestamp that the output's topic does not take
)

// maxMessage bounds the message header in bytes.
const maxMessage = 512

// BadInputError stops an application whose policy is Fail.
type BadInputError struct {
	Topic     string
	Key       []byte // of a timer, whose Offset is -1
	Partition int32
	Offset    int64
	Rejection *topology.Rejection
}

func (e *BadInputError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("timer of topic %s partition %d failed for key %q: %v", e.Topic, e.Partition, e.Key, e.Rejection)
	}
	return fmt.Sprintf("bad input at topic %s partition %d offset %d: %v", e.Topic, e.Partition, e.Offset, e.Rejection)
}

func (e *BadInputError) Unwrap() error { return e.Rejection }

// reject gives a record whose effects are undone to the bad-input policy.
func (t *Task) reject(r *topology.Record, why *topology.Rejection) error {
	t.stats.Rejected++
	if t.cfg.Rejected != nil {
		t.cfg.Rejected(r, why)
	}
	switch t.cfg.BadInput {
	case Skip:
		return nil
	case Fail:
		return &BadInputError{t.cfg.Topology.Source(r), r.Key, r.Partition, r.Offset, why}
	}
	t.effects = append(t.effects, t.deadLetter(r, why))
	return nil
}

// deadLetter is r byte for byte with the reason in its headers; one that its topic would refuse is shortened, marked
// and hashed (R9).
func (t *Task) deadLetter(r *topology.Record, why *topology.Rejection) Effect {
	ours := []topology.Header{
		{Key: HeaderReason, Value: []byte(why.Reason)},
		{Key: HeaderMessage, Value: []byte(message(why))},
		{Key: HeaderTopic, Value: []byte(t.cfg.Topology.Source(r))},
		{Key: HeaderPartition, Value: fmt.Append(nil, r.Partition)},
		{Key: HeaderOffset, Value: fmt.Append(nil, r.Offset)},
		{Key: HeaderTime, Value: fmt.Append(nil, r.Timestamp)},
	}
	if r.Input < 0 {
		ours = append(ours, topology.Header{Key: HeaderTimer, Value: []byte(t.cfg.Topology.Timers[^r.Input].Name)})
	}
	e := Effect{Kind: DeadLetterKind, Key: r.Key, Value: r.Value, Timestamp: t.now}
	e.Headers = append(append(e.Headers, r.Headers...), ours...)
	limit := t.cfg.Limits.DeadLetter
	if limit.fits(len(e.Key), len(e.Value), e.Headers) {
		return e
	}
	sum := sha256.Sum256(append(append([]byte(nil), r.Key...), r.Value...))
	e.Headers = append(ours,
		topology.Header{Key: HeaderTruncated, Value: fmt.Appendf(nil, "key=%d value=%d", len(r.Key), len(r.Value))},
		topology.Header{Key: HeaderHash, Value: []byte(hex.EncodeToString(sum[:]))})
	for len(e.Value) > 0 && !limit.fits(len(e.Key), len(e.Value), e.Headers) {
		e.Value = e.Value[:len(e.Value)/2]
	}
	for len(e.Key) > 0 && !limit.fits(len(e.Key), len(e.Value), e.Headers) {
		e.Key = e.Key[:len(e.Key)/2]
	}
	return e
}

// message is the first line of the rejection's cause, bounded and valid UTF-8.
func message(why *topology.Rejection) string {
	if why.Err == nil {
		return ""
	}
	line, _, _ := strings.Cut(why.Err.Error(), "\n")
	if len(line) > maxMessage {
		line = line[:maxMessage]
	}
	return strings.ToValidUTF8(line, "\uFFFD")
}
