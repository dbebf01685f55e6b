// Package deadletters reads an application's dead letters, and sends them to their input again, each at most once.
package deadletters

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Headers of a dead letter, as the README lists them.
const (
	errorPrefix     = "penstock.error."
	headerReason    = errorPrefix + "reason"
	headerMessage   = errorPrefix + "message"
	headerTopic     = errorPrefix + "topic"
	headerPartition = errorPrefix + "partition"
	headerOffset    = errorPrefix + "offset"
	headerTime      = errorPrefix + "timestamp"
	headerTruncated = errorPrefix + "truncated"
	// headerReplays counts how often a record was sent again. It guards against a loop.
	headerReplays = "penstock.replays"
)

// Topic is where an application's dead letters are.
func Topic(app string) string { return app + "-dead-letters" }

// Letter is one dead letter. Source is where the record came from.
type Letter struct {
	Partition int32     `json:"partition"`
	Offset    int64     `json:"offset"`
	Time      time.Time `json:"time"`
	Reason    string    `json:"reason"`
	Message   string    `json:"message"`
	Source    Source    `json:"source"`
	Truncated bool      `json:"truncated,omitempty"` // not all of it is there: it cannot be replayed
	Replays   int       `json:"replays,omitempty"`
	Key       string    `json:"key"`
	Value     string    `json:"value"`

	record *kgo.Record
}

// Source is a place in an input.
type Source struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Timestamp int64  `json:"timestamp"` // Unix milliseconds
}

func read(r *kgo.Record) Letter {
	l := Letter{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UTC(), Key: string(r.Key), Value: string(r.Value), record: r}
	number := func(v []byte) int64 {
		n, _ := strconv.ParseInt(string(v), 10, 64)
		return n
	}
	for _, h := range r.Headers {
		switch h.Key {
		case headerReason:
			l.Reason = string(h.Value)
		case headerMessage:
			l.Message = string(h.Value)
		case headerTopic:
			l.Source.Topic = string(h.Value)
		case headerPartition:
			l.Source.Partition = int32(number(h.Value))
		case headerOffset:
			l.Source.Offset = number(h.Value)
		case headerTime:
			l.Source.Timestamp = number(h.Value)
		case headerTruncated:
			l.Truncated = true
		case headerReplays:
			l.Replays = int(number(h.Value))
		}
	}
	return l
}

// original is the record as it was, with the count of its replays.
func (l *Letter) original() *kgo.Record {
	r := &kgo.Record{Topic: l.Source.Topic, Partition: l.Source.Partition, Key: l.record.Key, Value: l.record.Value}
	if l.Source.Timestamp > 0 {
		r.Timestamp = time.UnixMilli(l.Source.Timestamp)
	}
	for _, h := range l.record.Headers {
		if !strings.HasPrefix(h.Key, errorPrefix) && h.Key != headerReplays {
			r.Headers = append(r.Headers, h)
		}
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerReplays, Value: strconv.AppendInt(nil, int64(l.Replays+1), 10)})
	return r
}

// Filter chooses letters. The zero value takes all.
type Filter struct {
	Reasons []string
	From    time.Time // by the letter's time
}

func (f Filter) takes(l *Letter) bool {
	return (len(f.Reasons) == 0 || slices.Contains(f.Reasons, l.Reason)) && !l.Time.Before(f.From)
}

// Each gives the committed letters that the filter takes to fn, in offset order per partition.
func Each(ctx context.Context, conn *kafka.Connection, app string, f Filter, fn func(*Letter)) error {
	starts, ends, err := bounds(ctx, conn, app)
	if err != nil {
		return err
	}
	return conn.ReadAll(ctx, Topic(app), starts, ends, func(r *kgo.Record) {
		if l := read(r); f.takes(&l) {
			fn(&l)
		}
	})
}

func bounds(ctx context.Context, conn *kafka.Connection, app string) (starts, ends kafka.Ends, err error) {
	cl, err := conn.Client(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer cl.Close()
	if _, err := kafka.Partitions(ctx, cl, Topic(app)); err != nil {
		return nil, nil, err
	}
	if starts, err = kafka.Starts(ctx, cl, Topic(app)); err != nil {
		return nil, nil, err
	}
	ends, err = kafka.StableEnds(ctx, cl, Topic(app))
	return starts, ends, err
}
