// Package audit recomputes a session window's results by a simple model, a map and a sum, and compares them with what the
// window wrote. It shares the codecs with the window and nothing else.
//
// Feed a [Model] all dead letters first, then, with an idle timeout, the updates that close a session for it, then the
// input, the updates and the changelog, each partition in offset order, and ask for the [Verdict].
package audit

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/session"
)

// Record is one record of a topic. A nil Key or Value is a null one. The model keeps none of the slices.
type Record struct {
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
}

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

func (r Record) header(key string) (string, bool) {
	for i := len(r.Headers) - 1; i >= 0; i-- {
		if r.Headers[i].Key == key {
			return string(r.Headers[i].Value), true
		}
	}
	return "", false
}

// Config says what the window was told.
type Config struct {
	Input   string                           // topic; dead letters of other topics are none of the audit's business
	Format  codec.Codec[session.Transaction] // of the input; nil: session.TransactionJSON
	Updates session.Updates
	SkipBad bool // bad input leaves no dead letter
	Idle    bool // an idle timeout closes sessions; with UpdatesEvery only
}

// Verdict is the outcome. The last four counts are faults.
type Verdict struct {
	Transactions int64 `json:"transactions"` // input records that are no bad input
	Updates      int64 `json:"updates"`      // records of the output topic
	Deposits     int64 `json:"deposits"`     // closing updates among them
	DeadLetters  int64 `json:"deadLetters"`
	OpenSessions int64 `json:"openSessions"` // by the model

	Lost       int64 `json:"lost"`       // updates and dead letters that are missing
	Duplicated int64 `json:"duplicated"` // those that are there once too often
	Wrong      int64 `json:"wrong"`      // those with another content, without a cause, and wrong state
	OutOfOrder int64 `json:"outOfOrder"` // updates to be moved to put their session in order

	// Examples are the first few of each fault, in words.
	Examples []string `json:"-"`
}

// Exact reports whether there is no fault.
func (v Verdict) Exact() bool {
	return v.Lost == 0 && v.Duplicated == 0 && v.Wrong == 0 && v.OutOfOrder == 0
}

// maxExamples bounds the examples of each fault.
const maxExamples = 5

func (m *Model) fault(counter *int64, word, format string, args ...any) {
	*counter++
	if *counter <= maxExamples {
		m.verdict.Examples = append(m.verdict.Examples, word+": "+fmt.Sprintf(format, args...))
	}
}

func (m *Model) lost(format string, args ...any) {
	m.fault(&m.verdict.Lost, "lost", format, args...)
}

func (m *Model) duplicated(format string, args ...any) {
	m.fault(&m.verdict.Duplicated, "duplicated", format, args...)
}

func (m *Model) wrong(format string, args ...any) {
	m.fault(&m.verdict.Wrong, "wrong", format, args...)
}

func (m *Model) outOfOrder(format string, args ...any) {
	m.fault(&m.verdict.OutOfOrder, "out of order", format, args...)
}
