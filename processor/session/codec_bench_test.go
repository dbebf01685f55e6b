package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/session"
)

const (
	canonical = `{"sessionId":"session-0012345","winAmount":123.45,"deposit":false}`
	reordered = `{"winAmount":123.45, "deposit":false, "sessionId":"session-0012345"}`
	spaced    = `{"sessionId": "session-0012345", "winAmount": 123.45, "deposit": false}`
	line      = `session-0012345,123.45,false`
)

var update = session.SessionUpdate{SessionID: "session-0012345", CurrentBalance: amount("12345.67")}

func TestTheRecordPathAllocatesOnlyTheID(t *testing.T) {
	decodes := func(c codec.Codec[session.Transaction], src string) float64 {
		value := []byte(src)
		return testing.AllocsPerRun(100, func() { _, _ = c.Decode(value) })
	}
	require.Equal(t, 1.0, decodes(session.TransactionJSON(), canonical))
	require.Equal(t, 1.0, decodes(session.TransactionJSON(), reordered))
	require.Equal(t, 1.0, decodes(session.TransactionCSV(), line))

	sum, buf := []byte(`{"totalSum":12345.67}`), make([]byte, 0, 256)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = session.SessionTrackingValueJSON().Decode(sum) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { buf, _ = session.SessionUpdateJSON().Append(buf[:0], update) }))
}

func benchmarkDecode[T any](b *testing.B, c codec.Codec[T], src string) {
	value := []byte(src)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Decode(value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTransactionJSON(b *testing.B) { benchmarkDecode(b, session.TransactionJSON(), canonical) }
func BenchmarkTransactionJSONOther(b *testing.B) {
	benchmarkDecode(b, session.TransactionJSON(), reordered)
}
func BenchmarkTransactionJSONSpaced(b *testing.B) {
	benchmarkDecode(b, session.TransactionJSON(), spaced)
}
func BenchmarkTransactionCSV(b *testing.B) { benchmarkDecode(b, session.TransactionCSV(), line) }
func BenchmarkTracking(b *testing.B) {
	benchmarkDecode(b, session.SessionTrackingValueJSON(), `{"totalSum":12345.67}`)
}

func BenchmarkAppendUpdate(b *testing.B) {
	c, buf := session.SessionUpdateJSON(), make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = c.Append(buf[:0], update)
	}
}

func BenchmarkAppendTracking(b *testing.B) {
	c, buf := session.SessionTrackingValueJSON(), make([]byte, 0, 256)
	v := session.SessionTrackingValue{TotalSum: update.CurrentBalance}
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = c.Append(buf[:0], v)
	}
}
