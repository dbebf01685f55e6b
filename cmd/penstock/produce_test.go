package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles/tlstest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A line server that hangs up, or breaks off in the middle of a line, is asked again; half a line is no amount.
func TestALineServerIsAskedAgain(t *testing.T) {
	at := "--brokers=" + broker(t, "transactions", "session-updates")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	says := []string{"s1,1\n", "s1,2\ns1,3", "s1,40\n"}
	go func() {
		for i, text := range says {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, text)
			if i == 1 {
				time.Sleep(200 * time.Millisecond)   // it arrives, and then
				_ = conn.(*net.TCPConn).SetLinger(0) // a reset
			}
			conn.Close()
		}
	}()
	c := start(t, "", "produce", at, "--connect", l.Addr().String())
	require.Equal(t, []string{`{"sessionId":"s1","winAmount":1,"deposit":false}`, `{"sessionId":"s1","winAmount":2,"deposit":false}`,
		`{"sessionId":"s1","winAmount":40,"deposit":false}`}, values(t, at, "transactions", 3))
	require.Contains(t, c.stderr.String(), "hung up")
	c.stop()
	c.end(t, 0)
}

// Bad lines go to a topic, with what is wrong, where they stood; a client that speaks TLS is served.
func TestBadLinesAreKept(t *testing.T) {
	addr := broker(t, "transactions", "bad-lines")
	dir := t.TempDir()
	files := tlsfiles.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	tlstest.Write(t, files, "localhost")
	c := start(t, "", "produce", "--brokers="+addr, "--bad-topic", "bad-lines", "--listen", "127.0.0.1:0", "--listen-tls-cert", files.Cert, "--listen-tls-key", files.Key)
	server := c.stderr.await(t, `listening at (\S+)`)[1]
	source, err := tlsfiles.Open(tlsfiles.Files{CA: files.CA}, nil)
	require.NoError(t, err)
	conn, err := tls.Dial("tcp", server, source.Client())
	require.NoError(t, err)
	fmt.Fprint(conn, "s1,1\nnonsense\ns1,x\n")
	require.NoError(t, conn.Close())

	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("bad-lines"))
	require.NoError(t, err)
	defer cl.Close()
	got := map[string]map[string]string{}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(got) < 2 && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			got[string(r.Value)] = map[string]string{}
			for _, h := range r.Headers {
				got[string(r.Value)][h.Key] = string(h.Value)
			}
		})
	}
	require.Len(t, got, 2)
	require.Equal(t, "2", got["nonsense"]["penstock.line.number"])
	require.Equal(t, "missing-field", got["nonsense"]["penstock.error.reason"])
	require.Equal(t, "3", got["s1,x"]["penstock.line.number"])
	require.NotEmpty(t, got["s1,x"]["penstock.error.message"])
	c.stop()
	c.end(t, exitFailure)
}

// A client that sends bad lines and does not read what is said of them hurts nobody else.
func TestASlowClientHurtsNobody(t *testing.T) {
	at := "--brokers=" + broker(t, "transactions")
	c := start(t, "", "produce", at, "--listen", "127.0.0.1:0")
	server := c.stderr.await(t, `listening at (\S+)`)[1]
	deaf, err := net.Dial("tcp", server)
	require.NoError(t, err)
	defer deaf.Close()
	go func() {
		bad := bytes.Repeat([]byte("x\n"), 100_000)
		for range 100 {
			if _, err := deaf.Write(bad); err != nil {
				return // closed, as it should be
			}
		}
	}()
	time.Sleep(500 * time.Millisecond) // its answers have filled what the sockets hold
	conn, err := net.Dial("tcp", server)
	require.NoError(t, err)
	defer conn.Close()
	began := time.Now()
	fmt.Fprint(conn, "nonsense\n")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, answer, "line 1: missing-field")
	require.Less(t, time.Since(began), 4*time.Second)
	c.stop()
	c.end(t, exitFailure)
}

// One client more than are served is told so.
func TestTooManyClientsAreTold(t *testing.T) {
	at := "--brokers=" + broker(t, "transactions")
	c := start(t, "", "produce", at, "--listen", "127.0.0.1:0")
	server := c.stderr.await(t, `listening at (\S+)`)[1]
	for range 64 {
		conn, err := net.Dial("tcp", server)
		require.NoError(t, err)
		defer conn.Close()
	}
	conn, err := net.Dial("tcp", server)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "64 others are connected\n", answer)
	c.stop()
	c.end(t, 0)
}

// What is read, and what the brokers have of it, is told over HTTP: a line is acknowledged once they have it, not before.
func TestLinesAreAcknowledgedOnceTheBrokersHaveThem(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "transactions"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	asked, release := make(chan struct{}), make(chan struct{})
	cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cluster.SleepControl(func() { close(asked); <-release })
		return nil, nil, false
	})
	c := startWith(t, []string{"PENSTOCK_PRODUCE_HTTP_TOKEN=let-me-in"}, "", "produce", "--brokers="+cluster.ListenAddrs()[0], "--listen", "127.0.0.1:0",
		"--http", "127.0.0.1:0", "--skip-bad", "--listen-idle-limit", "2s")
	base := "http://" + c.stderr.await(t, `msg=http address=(\S+)`)[1]
	server := c.stderr.await(t, `listening at (\S+)`)[1]
	conn, err := net.Dial("tcp", server)
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "s1,1\nnonsense\ns1,2\n")

	code, _ := ask(t, base+"/metrics", "")
	require.Equal(t, 401, code)
	code, _ = ask(t, base+"/livez", "")
	require.Equal(t, 200, code)
	says := func(lines ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(col *assert.CollectT) {
			_, body := ask(t, base+"/metrics", "let-me-in")
			for _, l := range lines {
				assert.Contains(col, body, l+"\n")
			}
		}, 20*time.Second, 10*time.Millisecond)
	}
	<-asked
	says("penstock_produce_lines_total 3", `penstock_produce_bad_lines_total{reason="missing-field"} 1`, "penstock_produce_read_bytes_total 16",
		"penstock_produce_acknowledged_total 0", "penstock_produce_clients 1")
	close(release)
	says("penstock_produce_acknowledged_total 2")

	// The client sends no more, and is told why it is let go.
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	answers, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answers), "line 2: missing-field")
	require.Contains(t, string(answers), "nothing came for 2s\n")
	says("penstock_produce_clients 0", "penstock_produce_clients_idle_total 1")
	c.stop()
	c.end(t, 0)
	require.Contains(t, c.stderr.String(), "2 records sent to transactions, 1 bad lines")
}

// values are those of a topic's first records.
func values(t *testing.T, at, topic string, n int) (all []string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(at[len("--brokers="):]), kgo.ConsumeTopics(topic))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(all) < n && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { all = append(all, string(r.Value)) })
	}
	return all
}
