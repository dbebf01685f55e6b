package engine_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// A record's span ends with its transaction: one for each time that it was processed, of which one was committed. What it
// yields carries that one's context, through a topic between as well.
func TestARecordsSpanEndsWithItsTransaction(t *testing.T) {
	w := newRekeyed(t)
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	var commits atomic.Int64
	cfg := w.config(t.TempDir()).WithStep(func(s worker.Step) error {
		if s == worker.OffsetsAdded && commits.Add(1)%3 == 1 {
			return errors.New("injected")
		}
		return nil
	})
	cfg.Tracer = provider
	stop := w.runApp(rekeyed(), cfg)
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	w.send(50) // without a trace
	require.NoError(t, w.client.ProduceSync(t.Context(), &kgo.Record{Topic: input, Key: []byte("any"), Value: []byte(`{"sessionId":"traced","winAmount":1}`),
		Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-" + trace + "-00f067aa0ba902b7-01")}}}).FirstErr())
	w.want["traced"], w.sent = []string{`{"sessionId":"traced","currentBalance":1,"depositCurrentBalance":false}`}, w.sent+1
	require.Equal(t, w.want, w.updates())

	committed := func() map[string]tracetest.SpanStub {
		found := map[string]tracetest.SpanStub{}
		for _, s := range spans.GetSpans() {
			require.Equal(t, trace, s.SpanContext.TraceID().String())
			if s.Status.Code == codes.Error {
				require.Contains(t, s.Status.Description, "dropped")
				continue
			}
			require.NotContains(t, found, s.Name, "committed twice")
			found[s.Name] = s
		}
		return found
	}
	require.Eventually(t, func() bool { return len(committed()) == 2 }, 20*time.Second, 10*time.Millisecond)
	first, second := committed()["process "+input], committed()["process "+repartitionTopic]
	require.Equal(t, first.SpanContext.SpanID(), second.Parent.SpanID(), "the way goes on")
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.ConsumeTopics(output), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(t, err)
	defer cl.Close()
	var carried []string
	for seen := 0; seen < w.sent; {
		cl.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			seen++
			for _, h := range r.Headers {
				if h.Key == "traceparent" {
					carried = append(carried, string(r.Key)+" "+string(h.Value))
				}
			}
		})
	}
	require.Equal(t, []string{"traced 00-" + trace + "-" + second.SpanContext.SpanID().String() + "-01"}, carried)
	stop()
	require.NoError(t, provider.Shutdown(t.Context()))
}
