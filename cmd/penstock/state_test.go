package main

import (
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestStateIsReadFromInstancesAndChangelog(t *testing.T) {
	at := "--brokers=" + broker(t)
	environ := []string{"PENSTOCK_HTTP_TOKEN=let-me-in"}
	var services []*call
	var endpoints []string
	for _, instance := range []string{"t1", "t2"} {
		c := startWith(t, environ, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--http", "127.0.0.1:0", "--instance", instance)
		endpoints = append(endpoints, c.stderr.await(t, `msg=http address=(\S+)`)[1])
		services = append(services, c)
		require.Eventually(t, func() bool {
			code, _ := ask(t, "http://"+endpoints[len(endpoints)-1]+"/readyz", "")
			return code == 200
		}, 20*time.Second, 20*time.Millisecond)
	}
	start(t, "s1,10.50\ns2,7\ns3,1\ns2,3\nt1,5\ns3,2,true\na/b,1\n", "produce", at, "--input-format", "csv", "-").end(t, 0)
	send(t, at, &kgo.Record{Topic: "transactions", Key: []byte("tab\t"), Value: []byte(`{"sessionId":"tab\t","winAmount":4}`)})
	start(t, "", "audit", at).end(t, 0)

	code, body := ask(t, "http://"+endpoints[0]+"/api/v1/state/total/s2", "")
	require.Equal(t, 401, code, body)
	sources := map[string][]string{"offline": {at, "--offline"}, "no endpoint": {at}, "both": {"--endpoint", endpoints[0] + "," + endpoints[1]},
		"one is gone": {"--endpoint", gone(t) + ",http://" + endpoints[0] + "/"}}
	for _, e := range endpoints {
		sources["--endpoint "+e] = []string{"--endpoint", e}
		sources["--http "+e] = []string{"--http", e}
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			state := func(code int, args ...string) *call {
				t.Helper()
				c := startWith(t, environ, "", append(append([]string{"state"}, args...), source...)...)
				c.end(t, code)
				return c
			}
			require.Regexp(t, `^SESSION +TOTAL +PARTITION\ns2 +10 +\d\n$`, state(0, "get", "s2").stdout.String())
			require.Regexp(t, `^{"partition":\d,"key":"s1","value":{"totalSum":10.50}}\n$`, state(0, "get", "s1", "--json").stdout.String())
			require.Contains(t, state(0, "get", "a/b").stdout.String(), "a/b")
			require.Contains(t, state(exitFailure, "get", "s3").stderr.String(), `session "s3" is not open`)
			c := state(0, "list", "--prefix", "s", "--limit", "1")
			require.Equal(t, []string{"s1"}, firstColumn(c.stdout.String()))
			require.Contains(t, c.stderr.String(), "there are more than these 1")
			c = state(0, "list", "--limit", "0")
			require.Equal(t, []string{`a/b`, "s1", "s2", "t1", `"tab\t"`}, firstColumn(c.stdout.String()))
			require.NotContains(t, c.stderr.String(), "there are more")
			require.Empty(t, firstColumn(state(0, "list", "--prefix", "nobody").stdout.String()))
			require.Equal(t, 2, strings.Count(state(0, "list", "--prefix", "s", "--json").stdout.String(), "\n"))
		})
	}
	c := start(t, "", "state", "get", "s1", "--endpoint", endpoints[0])
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), "asks for a bearer token")
	for _, s := range services {
		s.stop()
	}
	for _, s := range services {
		s.end(t, 0)
		require.NotContains(t, s.stderr.String(), "let-me-in")
	}
	c = start(t, "", "state", "get", "t1", at)
	c.end(t, 0)
	require.Regexp(t, `t1 +5 `, c.stdout.String())
	c = start(t, "", "state", "list", at, "--app", "other")
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), "application other has not run on these brokers")
}

// gone is an address where nobody listens.
func gone(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func firstColumn(table string) (ids []string) {
	for i, line := range strings.Split(strings.TrimSpace(table), "\n") {
		if i > 0 {
			ids = append(ids, regexp.MustCompile(`\s{2,}`).Split(line, 2)[0])
		}
	}
	return ids
}

func TestStateUsage(t *testing.T) {
	for _, args := range [][]string{{"get"}, {"get", ""}, {"get", "a", "--offline", "--endpoint", "x:1"}, {"list", "--limit", "-1"}, {"list", "more"}} {
		c := start(t, "", append([]string{"state"}, args...)...)
		c.end(t, exitUsage)
	}
}

func TestAdvertisedAddress(t *testing.T) {
	bound := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 8081}
	for address, want := range map[string]string{
		":0": "", "0.0.0.0:0": "", "[::]:0": "", "127.0.0.1:0": "127.0.0.1:8081", "node-1:0": "node-1:8081",
	} {
		require.Equal(t, want, advertised(address, bound, false), address)
	}
}
