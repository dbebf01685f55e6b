// Package tracing follows records through a transaction by OpenTelemetry spans: those that carry a trace context in their
// headers (W3C traceparent), and some of the others. A record's span begins with its handler and ends with its transaction;
// what the handler emits carries the span's context.
//
// The client has a plugin for this (kotel). Its hooks make a span of every record that any client of the process reads or
// writes, changelogs too, traced or not, and know of no transaction.
package tracing

import (
	"context"
	"math/rand/v2"
	"strconv"

	"github.com/penstock/penstock/processor/internal/topology"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Tracer begins spans. A nil Tracer begins none.
type Tracer struct {
	tracer trace.Tracer
	ratio  float64
	group  string
}

// New makes a Tracer; nil for a nil provider. ratio is the part of the records without a trace context that begin a trace.
func New(p trace.TracerProvider, ratio float64, group string) *Tracer {
	if p == nil {
		return nil
	}
	return &Tracer{p.Tracer("github.com/penstock/penstock/processor"), ratio, group}
}

// Span is that of one record.
type Span struct {
	span trace.Span
	// Headers are what the records carry that its handler emits.
	Headers []topology.Header
}

// format writes and reads the context in headers. Baggage is not its matter.
var format propagation.TraceContext

// parent is the header that a trace context is known by.
const parent = "traceparent"

// Begin returns the span of a record of a topic, nil where there is none.
func (t *Tracer) Begin(topic string, r *topology.Record) *Span {
	if t == nil || !carries(r) && (t.ratio <= 0 || rand.Float64() >= t.ratio) {
		return nil
	}
	in := carrier{&r.Headers}
	ctx, span := t.tracer.Start(format.Extract(context.Background(), in), "process "+topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "kafka"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.name", topic),
		attribute.String("messaging.destination.partition.id", strconv.Itoa(int(r.Partition))),
		attribute.String("messaging.consumer.group.name", t.group),
		attribute.Int64("messaging.kafka.offset", r.Offset)))
	s := &Span{span: span}
	format.Inject(ctx, carrier{&s.Headers})
	return s
}

func carries(r *topology.Record) bool {
	for i := range r.Headers {
		if r.Headers[i].Key == parent {
			return true
		}
	}
	return false
}

// Rejected says why the record was.
func (s *Span) Rejected(why *topology.Rejection) { s.span.SetStatus(codes.Error, why.Error()) }

// Committed ends the span: what it did is there for all to see.
func (s *Span) Committed() { s.span.End() }

// Dropped ends the span: what it did is undone, and the record is processed again.
func (s *Span) Dropped() {
	s.span.SetStatus(codes.Error, "the transaction was dropped; the record is processed again")
	s.span.End()
}

// carrier is a record's headers as a propagation.TextMapCarrier.
type carrier struct{ headers *[]topology.Header }

func (c carrier) Get(key string) string {
	for i := len(*c.headers) - 1; i >= 0; i-- {
		if h := (*c.headers)[i]; h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func (c carrier) Set(key, value string) {
	*c.headers = append(*c.headers, topology.Header{Key: key, Value: []byte(value)})
}

func (c carrier) Keys() []string {
	var keys []string
	for _, h := range *c.headers {
		keys = append(keys, h.Key)
	}
	return keys
}
