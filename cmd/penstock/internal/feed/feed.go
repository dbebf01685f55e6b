package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/session"
)

// Format is a way to write a transaction.
type Format string

// The formats, as the flags name them.
const (
	JSON Format = "json"
	CSV  Format = "csv"
)

// Codec is the session window's own codec of the format.
func (f Format) Codec() codec.Codec[session.Transaction] {
	if f == CSV {
		return session.TransactionCSV()
	}
	return session.TransactionJSON()
}

// Config says what a Feed sends where.
type Config struct {
	Client *kgo.Client // see ClientOpts
	Topic  string
	Output Format // of the records
	Rate   int    // most records a second, of all streams together; 0: no bound

	// IdleLimit ends a client of Serve that sends nothing for so long; 0: none is.
	IdleLimit time.Duration
	// Limits are the bounds of batches, by topic, as ClientOpts has them; nil: the client's default.
	Limits Limits
	// BadTopic gets each line that is not sent, with headers that say why; empty: none does.
	BadTopic string
	// Bad is told of each line that is not sent. It is called by one goroutine at a time.
	Bad func(source string, line int, err error)
}

// Limits are the most bytes of a batch that a topic takes, by topic.
type Limits map[string]int

const (
	batchBytes    = 1_000_012 // the client's default, and the brokers' of a topic
	bufferedBytes = 64 << 20  // on their way to the brokers
	overhead      = 512       // of a batch of one record, its headers included
)

func (l Limits) of(topic string) int {
	if n := l[topic]; n > 0 {
		return min(n, batchBytes)
	}
	return batchBytes
}

// errTooLarge says that the topic does not take a record of a line's size.
var errTooLarge = errors.New("too large for the topic")

// fits returns an error that wraps errTooLarge, a bad line's, where it does not.
func (l Limits) fits(topic string, bytes int) error {
	if most := l.of(topic) - overhead; bytes > most {
		return fmt.Errorf("%w %s: key and value have %d bytes, of at most %d", errTooLarge, topic, bytes, most)
	}
	return nil
}

// ClientOpts are what a Feed's client needs.
func ClientOpts(limits Limits) []kgo.Opt {
	return []kgo.Opt{
		kgo.ProducerBatchMaxBytesFn(func(topic string) int32 { return int32(limits.of(topic)) }),
		kgo.MaxBufferedBytes(bufferedBytes),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(5 * time.Millisecond),
		kgo.MaxBufferedRecords(100_000),
		kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()),
		kgo.RecordDeliveryTimeout(2 * time.Minute),
	}
}

// Feed sends lines. Its methods may be called by many goroutines. It is a prometheus.Collector.
type Feed struct {
	cfg     Config
	lines   atomic.Int64
	sent    atomic.Int64
	bad     atomic.Int64
	badMu   sync.Mutex // Config.Bad's
	paced   atomic.Int64
	began   time.Time
	failed  atomic.Pointer[error] // the first record that the brokers did not take
	metrics metrics
}

// New makes a Feed.
func New(cfg Config) *Feed { return &Feed{cfg: cfg, began: time.Now(), metrics: newMetrics()} }

// Lines counts the lines that were read.
func (f *Feed) Lines() int64 { return f.lines.Load() }

// Sent counts the records that the brokers have.
func (f *Feed) Sent() int64 { return f.sent.Load() }

// Bad counts the lines that were not sent.
func (f *Feed) Bad() int64 { return f.bad.Load() }

// Flush waits until the brokers have all records, and returns the first failure of all.
func (f *Feed) Flush(ctx context.Context) error {
	if err := f.cfg.Client.Flush(ctx); err != nil {
		return fmt.Errorf("send to topic %s: %w", f.cfg.Topic, err)
	}
	return f.failure()
}

func (f *Feed) failure() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// delivered is each record's promise.
func (f *Feed) delivered(_ *kgo.Record, err error) {
	if err == nil {
		f.sent.Add(1)
		f.metrics.acknowledged.Inc()
		return
	}
	err = fmt.Errorf("send to topic %s: %w", f.cfg.Topic, err)
	f.failed.CompareAndSwap(nil, &err)
}

// Stream is what one Read goes through.
type Stream struct {
	Source string // for a person: a file's name, an address
	Format Format // of the lines
	Reader io.Reader
	// Bad is told of a bad line beside Config.Bad, by the goroutine that reads the stream; may be nil.
	Bad func(line int, err error)
}

// Read sends a stream's lines until its end. Empty lines and the header line of a CSV file are passed over.
func (f *Feed) Read(ctx context.Context, s Stream) error {
	w := &writer{feed: f, input: s.Format, decode: s.Format.Codec(), encode: f.cfg.Output.Codec()}
	l := newLines(s.Reader)
	for n := 1; ; n++ {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return f.failure()
		}
		if err != nil && !errors.Is(err, errTooLong) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("read %s: %w", s.Source, err)
		}
		if err == nil {
			if len(line) == 0 || n == 1 && s.Format == CSV && isHeader(line) {
				continue
			}
			f.metrics.bytes.Add(float64(len(line)))
			err = w.send(ctx, line)
		}
		f.lines.Add(1)
		f.metrics.lines.Inc()
		if err != nil && ctx.Err() == nil {
			f.keepBad(ctx, s, n, line, err)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case f.failure() != nil:
			return f.failure()
		case err != nil:
			f.report(s, n, err)
		}
	}
}

func isHeader(line []byte) bool {
	line = codec.TrimBOM(line)
	return bytes.EqualFold(line, []byte("sessionId,winAmount,deposit")) || bytes.EqualFold(line, []byte("sessionId,winAmount"))
}

// Headers of a record of Config.BadTopic. The first two are those of dead letters.
const (
	HeaderReason  = "penstock.error.reason"
	HeaderMessage = "penstock.error.message"
	HeaderSource  = "penstock.line.source"
	HeaderLine    = "penstock.line.number"
)

// keepBad sends a bad line where it can be looked at. Of one that is too long there is only the reason, of one that is too large for that
// topic what fits.
func (f *Feed) keepBad(ctx context.Context, s Stream, n int, line []byte, why error) {
	if f.cfg.BadTopic == "" {
		return
	}
	line = line[:max(0, min(len(line), f.cfg.Limits.of(f.cfg.BadTopic)-overhead-len(why.Error())-len(s.Source)))]
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	f.cfg.Client.Produce(ctx, &kgo.Record{Topic: f.cfg.BadTopic, Value: bytes.Clone(line), Headers: []kgo.RecordHeader{
		header(HeaderReason, reason(why)), header(HeaderMessage, why.Error()), header(HeaderSource, s.Source), header(HeaderLine, strconv.Itoa(n))}}, f.kept)
}

// kept is the promise of a bad line's record.
func (f *Feed) kept(_ *kgo.Record, err error) {
	if err != nil {
		err = fmt.Errorf("send a bad line to topic %s: %w", f.cfg.BadTopic, err)
		f.failed.CompareAndSwap(nil, &err)
	}
}

func (f *Feed) report(s Stream, line int, err error) {
	f.bad.Add(1)
	f.metrics.bad.WithLabelValues(reason(err)).Inc()
	if f.cfg.Bad != nil {
		f.badMu.Lock()
		f.cfg.Bad(s.Source, line, err)
		f.badMu.Unlock()
	}
	if s.Bad != nil {
		s.Bad(line, err)
	}
}

// writer turns one stream's lines into records.
type writer struct {
	feed   *Feed
	input  Format
	decode codec.Codec[session.Transaction]
	encode codec.Codec[session.Transaction]
	arena  []byte       // keys and values; the client keeps them until they are sent
	slab   []kgo.Record // likewise
}

// How much is allocated at a time.
const (
	arenaBytes  = 256 << 10
	slabRecords = 512
)

// send gives a line to the client. An error means that the line is bad, or that ctx is done.
func (w *writer) send(ctx context.Context, line []byte) error {
	tx, err := w.decode.Decode(line)
	if err != nil {
		return err
	}
	if cap(w.arena)-len(w.arena) < 2*len(line)+128 {
		w.arena = make([]byte, 0, max(arenaBytes, 4*len(line)))
	}
	start := len(w.arena)
	w.arena = append(w.arena, tx.SessionID...)
	middle := len(w.arena)
	if w.input == w.feed.cfg.Output {
		w.arena = append(w.arena, codec.TrimBOM(line)...) // as it was written, unknown fields too
	} else if w.arena, err = w.encode.Append(w.arena, tx); err != nil {
		return err
	}
	if err := w.feed.cfg.Limits.fits(w.feed.cfg.Topic, len(w.arena)-start); err != nil {
		w.arena = w.arena[:start]
		return err
	}
	if len(w.slab) == 0 {
		w.slab = make([]kgo.Record, slabRecords)
	}
	r := &w.slab[0]
	w.slab = w.slab[1:]
	r.Topic = w.feed.cfg.Topic
	r.Key = w.arena[start:middle:middle]
	r.Value = w.arena[middle:len(w.arena):len(w.arena)]
	if err := w.feed.pace(ctx); err != nil {
		return err
	}
	w.feed.cfg.Client.Produce(ctx, r, w.feed.delivered)
	return nil
}

// Raw sends a record as it is, bad ones too.
func (f *Feed) Raw(ctx context.Context, key, value []byte) error {
	if err := f.pace(ctx); err != nil {
		return err
	}
	f.cfg.Client.Produce(ctx, &kgo.Record{Topic: f.cfg.Topic, Key: key, Value: value}, f.delivered)
	return f.failure()
}

// pace waits until the next record may go.
func (f *Feed) pace(ctx context.Context) error {
	if f.cfg.Rate <= 0 {
		return nil
	}
	n := f.paced.Add(1) - 1
	due := f.began.Add(time.Duration(float64(n) / float64(f.cfg.Rate) * float64(time.Second)))
	wait := time.Until(due)
	if wait < time.Millisecond {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
