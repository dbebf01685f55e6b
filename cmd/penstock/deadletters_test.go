package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A letter is sent again at most once, with filters in any order, and a record that is rejected for ever does not loop.
func TestDeadLettersAreReplayedOnce(t *testing.T) {
	addr := broker(t)
	at := "--brokers=" + addr
	run := func(format string) func() {
		c := start(t, "", "run", at, "--create-topics", "--partitions", "2", "--state-dir", t.TempDir(), "--input-format", format, "--http", "127.0.0.1:0", "--instance", "t1")
		base := "http://" + c.stderr.await(t, `msg=http address=(\S+)`)[1]
		require.Eventually(t, func() bool { code, _ := ask(t, base+"/readyz", ""); return code == 200 }, 20*time.Second, 20*time.Millisecond)
		return func() { c.stop(); c.end(t, 0) }
	}
	letters := func(says string, args ...string) {
		t.Helper()
		var c *call
		require.Eventually(t, func() bool {
			c = start(t, "", append([]string{"dead-letters", "list", at}, args...)...)
			c.end(t, 0)
			return strings.Contains(c.stderr.String(), says)
		}, 20*time.Second, 100*time.Millisecond, says)
	}
	stop := run("json")
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	for _, r := range []*kgo.Record{
		{Topic: "transactions", Key: []byte("s1"), Value: []byte("s1,5,false"), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("t")}}},
		{Topic: "transactions", Key: []byte("s2"), Value: []byte("s2,6,true")},
		{Topic: "transactions", Value: []byte(`{"sessionId":"s3","winAmount":1}`)}, // no key: never to be healed
	} {
		require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
	}
	letters("3 dead letters of penstock")
	stop()
	stop = run("csv") // the fault is mended
	replay := func(says string, args ...string) {
		t.Helper()
		c := start(t, "", append([]string{"dead-letters", "replay", at}, args...)...)
		c.end(t, 0)
		require.Contains(t, c.stdout.String(), says)
	}
	replay("3 would be replayed")
	replay("1 replayed\n0 replayed earlier, 2 not chosen", "--execute", "--reason", "json", "--limit", "1")
	replay("2 would be replayed")
	replay("2 replayed\n1 replayed earlier", "--execute")
	letters("4 dead letters of penstock") // the one without a key came back
	replay("1 replayed\n3 replayed earlier", "--execute")
	letters("5 dead letters of penstock")
	replay("1 replayed\n4 replayed earlier", "--execute")
	letters("6 dead letters of penstock")
	replay("0 replayed\n5 replayed earlier, 0 not chosen, 0 too large to be whole, 1 replayed too often already", "--execute")
	stop()

	c := start(t, "", "tail", at, "--from", "start", "--json", "--limit", "2")
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), `"s1"`)
	require.Contains(t, c.stdout.String(), `"s2"`)
	c = start(t, "", "dead-letters", "list", at, "--json", "--reason", "no-key", "--limit", "1")
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), `"reason":"no-key"`)
	c = start(t, "", "dead-letters", "show", at, "9/9")
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), "no dead letter of penstock at 9/9")
}
