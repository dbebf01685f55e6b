package main

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Records without a key are given the session's; the audit follows them through the topic between, and finds what is forged
// or lost there.
func TestRunRepartition(t *testing.T) {
	at := "--brokers=" + broker(t)
	dir := t.TempDir()
	service := start(t, "", "run", at, "--create-topics", "--state-dir", dir, "--repartition", "--http", "127.0.0.1:0")
	base := "http://" + service.stderr.await(t, `msg=http address=(\S+)`)[1]
	service.stderr.await(t, "topic created.*penstock-total-changelog")
	for i := range 40 {
		send(t, at, &kgo.Record{Topic: "transactions", Value: fmt.Appendf(nil, `{"sessionId":"s%d","winAmount":%d.5,"deposit":%t}`, i%3, i, i == 39)})
	}
	send(t, at, &kgo.Record{Topic: "transactions", Value: []byte("not JSON")})
	send(t, at, &kgo.Record{Topic: "transactions", Key: []byte("s1"), Value: []byte(`{"sessionId":"","winAmount":1}`)})

	verdict := func(code int, args ...string) map[string]int {
		c := start(t, "", append([]string{"audit", at, "--repartition", "--json"}, args...)...)
		c.end(t, code)
		var v map[string]int
		require.NoError(t, json.Unmarshal([]byte(c.stdout.String()), &v), c.stderr)
		return v
	}
	v := verdict(0)
	require.Equal(t, map[string]int{"transactions": 40, "updates": 40, "deposits": 1, "deadLetters": 2, "openSessions": 2, "lost": 0, "duplicated": 0, "wrong": 0, "outOfOrder": 0}, v)

	_, body := ask(t, base+"/api/v1/owners", "")
	require.Contains(t, body, `"partitions":[0,1,2,3]`)
	c := start(t, "", "doctor", at, "--repartition", "--state-dir", dir)
	require.Contains(t, []int{0, exitFailure}, <-c.code) // the machine's limits are not the matter here
	require.Regexp(t, `ok +repartition +topic penstock-transactions-repartition has 4 partitions`, c.stdout.String())
	service.stop()
	service.end(t, 0)

	c = start(t, "", "reset", at, "--repartition")
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), "transactions")
	require.Contains(t, c.stdout.String(), "42")

	// Forged in the topic between, and never come through.
	send(t, at, &kgo.Record{Topic: "penstock-transactions-repartition", Key: []byte("s1"), Value: []byte(`{"sessionId":"s1","winAmount":7}`)})
	v = verdict(exitNotExact, "--wait", "0s")
	require.Equal(t, 1, v["duplicated"], v)
	send(t, at, &kgo.Record{Topic: "transactions", Value: []byte(`{"sessionId":"s7","winAmount":7}`)})
	v = verdict(exitNotExact, "--wait", "0s")
	require.Equal(t, 2, v["lost"], v) // the forged one has no update either
}
