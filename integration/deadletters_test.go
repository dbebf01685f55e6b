package integration

import (
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Dead letters are sent to their input again once, on a real broker, after the fault is mended.
func TestDeadLettersAreReplayed(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "in", 2, nil)
	b.CreateTopic(t, "out", 2, nil)
	base := []string{"--brokers", b.Addr(), "--app", "letters", "--input", "in", "--output", "out"}
	begin := func(format string) *process {
		return start(t, append([]string{"run", "--state-dir", t.TempDir(), "--input-format", format}, base...)...)
	}
	p := begin("json")
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	require.NoError(t, err)
	defer cl.Close()
	for range 600 {
		cl.Produce(t.Context(), &kgo.Record{Topic: "in", Key: []byte("s1"), Value: []byte("s1,5,false")}, nil)
	}
	require.NoError(t, cl.Flush(t.Context()))
	waitForTopic(t, b, "letters-dead-letters")
	require.Eventually(t, func() bool { return count(t, b, "letters-dead-letters") == 600 }, time.Minute, 200*time.Millisecond)
	p.stop()
	p = begin("csv")
	replay := func(more ...string) string {
		out, errs, status := run(t, time.Minute, append([]string{"dead-letters", "replay", "--brokers", b.Addr(), "--app", "letters", "--execute"}, more...)...)
		require.Zero(t, status, errs)
		return out
	}
	require.Contains(t, replay("--limit", "50"), "50 replayed\n")
	require.Contains(t, replay(), "550 replayed\n50 replayed earlier")
	require.Contains(t, replay(), "0 replayed\n600 replayed earlier")
	require.Eventually(t, func() bool { return count(t, b, "out") >= 600 }, time.Minute, 200*time.Millisecond)
	require.Equal(t, 600, count(t, b, "out"))
	p.stop()
}
