package main

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A record's trace goes on to its update, with the span of its processing between; a record without one has none.
func TestATraceGoesOnToTheUpdate(t *testing.T) {
	got := make(chan *spans.Span, 16)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var req collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(raw, &req) != nil {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					got <- s
				}
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer server.Close()
	addr := broker(t)
	c := start(t, "", "run", "--brokers="+addr, "--create-topics", "--state-dir", t.TempDir(), "--trace-endpoint", server.URL)
	c.stderr.await(t, "topic created.*dead-letters")
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	send(t, addr, &kgo.Record{Topic: "transactions", Key: []byte("s0"), Value: []byte(`{"sessionId":"s0","winAmount":1}`)})
	send(t, addr, &kgo.Record{Topic: "transactions", Key: []byte("s1"), Value: []byte(`{"sessionId":"s1","winAmount":2}`),
		Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-" + trace + "-" + parent + "-01")}}})
	send(t, addr, &kgo.Record{Topic: "transactions", Key: []byte("s1"), Value: []byte(`{"sessionId":"s2","winAmount":2}`),
		Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte("00-" + trace + "-" + parent + "-01")}}})

	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("session-updates"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(t, err)
	defer cl.Close()
	headers := map[string]string{}
	require.Eventually(t, func() bool {
		cl.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			headers[string(r.Key)] = ""
			for _, h := range r.Headers {
				if h.Key == "traceparent" {
					headers[string(r.Key)] += string(h.Value)
				}
			}
		})
		return len(headers) == 2
	}, 20*time.Second, time.Millisecond)
	time.Sleep(300 * time.Millisecond) // what is committed is seen before the process itself knows it
	c.stop()
	c.end(t, 0)

	close(got)
	var done, rejected *spans.Span
	for s := range got {
		require.Equal(t, trace, hex.EncodeToString(s.TraceId))
		require.Equal(t, parent, hex.EncodeToString(s.ParentSpanId))
		require.Equal(t, "process transactions", s.Name)
		require.Equal(t, spans.Span_SPAN_KIND_CONSUMER, s.Kind)
		if s.Status.GetCode() == spans.Status_STATUS_CODE_ERROR {
			rejected = s
		} else {
			done = s
		}
	}
	require.NotNil(t, done)
	require.NotNil(t, rejected)
	require.Contains(t, rejected.Status.Message, "key-mismatch")
	require.Equal(t, map[string]string{"s0": "", "s1": "00-" + trace + "-" + hex.EncodeToString(done.SpanId) + "-01"}, headers)

	for _, args := range [][]string{{"--trace-endpoint", "collector:4318"}, {"--trace-ratio", "2"}} {
		c := start(t, "", append([]string{"run", "--brokers=" + addr}, args...)...)
		c.end(t, exitUsage)
	}
}
