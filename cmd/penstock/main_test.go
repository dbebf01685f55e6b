package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

// beMain makes the test binary the program, for tests of signals.
const beMain = "PENSTOCK_TEST_BE_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(beMain) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// text collects what a running verb writes.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
	got chan struct{} // has a value when something was written
}

func newText() *text { return &text{got: make(chan struct{}, 1)} }

func (s *text) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.got <- struct{}{}:
	default:
	}
	return s.buf.Write(p)
}

func (s *text) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// await waits until the pattern is there and returns its groups.
func (s *text) await(t *testing.T, pattern string) []string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(30 * time.Second)
	for {
		if m := re.FindStringSubmatch(s.String()); m != nil {
			return m
		}
		select {
		case <-s.got:
		case <-timeout:
			t.Fatalf("no %q in:\n%s", pattern, s.String())
		}
	}
}

// call is a verb that runs in this process.
type call struct {
	stdout, stderr *text
	stop           context.CancelFunc
	code           chan int
}

func start(t *testing.T, stdin string, args ...string) *call {
	return startWith(t, nil, stdin, args...)
}

func startWith(t *testing.T, environ []string, stdin string, args ...string) *call {
	ctx, cancel := context.WithCancel(context.Background())
	c := &call{stdout: newText(), stderr: newText(), stop: cancel, code: make(chan int, 1)}
	p := &program{stdin: strings.NewReader(stdin), stdout: c.stdout, stderr: c.stderr, environ: environ}
	go func() { c.code <- p.run(ctx, args) }()
	t.Cleanup(cancel)
	return c
}

// end waits for the verb's exit code.
func (c *call) end(t *testing.T, code int) {
	t.Helper()
	select {
	case got := <-c.code:
		require.Equal(t, code, got, "stdout:\n%s\nstderr:\n%s", c.stdout, c.stderr)
	case <-time.After(60 * time.Second):
		t.Fatalf("still running; stdout:\n%s\nstderr:\n%s", c.stdout, c.stderr)
	}
}

func broker(t *testing.T, topics ...string) string {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics...), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c.ListenAddrs()[0]
}

func TestProduceRunTailAudit(t *testing.T) {
	at := "--brokers=" + broker(t)
	file := filepath.Join(t.TempDir(), "wins.csv")
	require.NoError(t, os.WriteFile(file, []byte("sessionId,winAmount,deposit\ns1,100,false\ns2,0.10\nbad\ns1,20.50,true\n"), 0o600))

	c := start(t, "", "produce", at, file)
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), "topic transactions does not exist")

	service := start(t, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--http", "127.0.0.1:0", "--instance", "t1")
	http := service.stderr.await(t, `msg=http address=(\S+)`)[1]
	require.Equal(t, 200, status(t, "http://"+http+"/livez"))
	require.Eventually(t, func() bool { return status(t, "http://"+http+"/readyz") == 200 }, 20*time.Second, 20*time.Millisecond)

	c = start(t, "", "produce", at, file)
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), file+":4: missing-field")
	require.Contains(t, c.stderr.String(), "3 records sent to transactions, 1 bad lines")
	c = start(t, `{"sessionId":"s3","winAmount":7,"more":1}`+"\n"+`{"sessionId":"s3"}`+"\n", "produce", at, "--input-format", "json", "--skip-bad", "-")
	c.end(t, 0)
	require.Contains(t, c.stderr.String(), "standard input:2: ")

	c = start(t, "", "tail", at, "--from", "start", "--json", "--session", "s1", "--limit", "2")
	c.end(t, 0)
	require.Equal(t, `{"sessionId":"s1","currentBalance":100,"depositCurrentBalance":false}
{"sessionId":"s1","currentBalance":120.50,"depositCurrentBalance":true}
`, c.stdout.String())
	c = start(t, "", "tail", at, "--from", "start", "--closing", "--limit", "1")
	c.end(t, 0)
	require.Equal(t, "s1 closed 120.50\n", c.stdout.String())

	c = start(t, "", "audit", at, "--json")
	c.end(t, 0)
	require.JSONEq(t, `{"transactions":4,"updates":4,"deposits":1,"deadLetters":0,"openSessions":2,"lost":0,"duplicated":0,"wrong":0,"outOfOrder":0}`, c.stdout.String())

	tail := start(t, "", "tail", at, "--from", "start")
	tail.stdout.await(t, "s3 7\n")
	tail.stop()
	tail.end(t, 0)

	service.stop()
	service.end(t, 0)

	// What nobody has processed is not exact, and a forged update is found.
	start(t, "s9,1", "produce", at).end(t, 0)
	c = start(t, "", "audit", at, "--wait", "0s")
	c.end(t, exitNotExact)
	require.Contains(t, c.stderr.String(), "1 input records are not processed")
	send(t, at, &kgo.Record{Topic: "session-updates", Key: []byte("s3"), Value: []byte(`{"sessionId":"s3","currentBalance":7,"depositCurrentBalance":false}`)})
	c = start(t, "", "audit", at, "--wait", "0s", "--json")
	c.end(t, exitNotExact)
	var v map[string]int
	require.NoError(t, json.Unmarshal([]byte(c.stdout.String()), &v))
	require.Equal(t, []int{1, 1, 1}, []int{v["lost"], v["duplicated"], v["wrong"]}, c.stderr.String()) // wrong: no state for s9
}

func status(t *testing.T, url string) int {
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	return resp.StatusCode
}

func send(t *testing.T, at string, r *kgo.Record) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.TrimPrefix(at, "--brokers=")))
	require.NoError(t, err)
	defer cl.Close()
	require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
}

// Every kind of bad record reaches the dead letters once, and the audit agrees with the engine on what is bad.
func TestAuditAgreesOnBadInput(t *testing.T) {
	at := "--brokers=" + broker(t)
	service := start(t, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--updates", "last")
	service.stderr.await(t, "topic created.*dead-letters")
	records := []struct{ key, value any }{
		{"a", `{"sessionId":"a","winAmount":1}`}, {nil, `{"sessionId":"a","winAmount":1}`}, {"", `{"sessionId":"","winAmount":1}`},
		{"a", nil}, {"a", ""}, {"a", `{"sessionId":"b","winAmount":1}`}, {"a", `{"sessionId":"a","winAmount":"1"}`},
		{"a", `{"sessionId":"a","winAmount":9999999999999999999}`}, {"a", `{"sessionId":"a","winAmount":1,"winAmount":1}`},
		{"a", `{"sessionId":"a","winAmount":1e400}`}, {"\xff", `{"sessionId":"` + "\xff" + `","winAmount":1}`}, {"a", `{"sessionId":"a","winAmount":0.10}`},
		{"ü\n", `{"sessionId":"ü\n","winAmount":-3.00,"deposit":null}`},
	}
	bytesOf := func(v any) []byte {
		if v == nil {
			return nil
		}
		return []byte(v.(string))
	}
	for _, r := range records {
		send(t, at, &kgo.Record{Topic: "transactions", Key: bytesOf(r.key), Value: bytesOf(r.value)})
	}
	c := start(t, "", "audit", at, "--json", "--updates", "last")
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), `"transactions":3,`)
	require.Contains(t, c.stdout.String(), `"deadLetters":10,`)
	service.stop()
	service.end(t, 0)
}

func TestLineServers(t *testing.T) {
	at := "--brokers=" + broker(t)
	service := start(t, "", "run", at, "--create-topics", "--state-dir", t.TempDir())
	service.stderr.await(t, "topic created.*dead-letters")

	server := start(t, "", "produce", at, "--listen", "127.0.0.1:0")
	addr := server.stderr.await(t, `listening at (\S+)`)[1]
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	fmt.Fprint(conn, "s1,1\nnonsense\ns1,2\n")
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, answer, "line 2: missing-field")
	require.NoError(t, conn.Close())

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			fmt.Fprint(conn, "s1,3,true\n")
			conn.Close()
		}
	}()
	tail := start(t, "", "tail", at, "--from", "start", "--session", "s1", "--limit", "2")
	tail.end(t, 0) // the first connection's records are there
	start(t, "", "produce", at, "--once", "--connect", l.Addr().String()).end(t, 0)
	server.stop()
	server.end(t, exitFailure) // there was a bad line
	tail = start(t, "", "tail", at, "--from", "start", "--session", "s1", "--limit", "3")
	tail.end(t, 0)
	require.Equal(t, "s1 1\ns1 3\ns1 closed 6\n", tail.stdout.String())
	service.stop()
	service.end(t, 0)
}

func TestDemo(t *testing.T) {
	c := start(t, "", "demo", "--records", "400", "--rate", "0")
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), "audit: exact\n")
	require.Regexp(t, `(?m)^session-\d+ closed \d+\.\d\d$`, c.stdout.String())
	require.Regexp(t, `dead letters +3\n`, c.stdout.String())
}

func TestDemoByHand(t *testing.T) {
	c := start(t, "", "demo", "--listen", "127.0.0.1:0")
	to := c.stderr.await(t, `nc (\S+) (\d+)`)
	conn, err := net.Dial("tcp", net.JoinHostPort(to[1], to[2]))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "me,12.50\noops\nme,0,true\n")
	answer, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, answer, "line 2: ")
	c.stdout.await(t, "me 12.50\nme closed 12.50\n")
	c.stop()
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), "audit: exact\n")
}

func TestWrongUsage(t *testing.T) {
	config := filepath.Join(t.TempDir(), "penstock.yaml")
	require.NoError(t, os.WriteFile(config, []byte("brokrs: [a:1]\nworkers: many\n"), 0o600))
	for _, c := range []struct {
		args    []string
		environ []string
		want    string
	}{
		{[]string{"run", "--wrkers", "2"}, nil, "unknown flag: --wrkers; see penstock run --help"},
		{[]string{"rum"}, nil, `unknown command "rum"`},
		{[]string{"run", "surplus"}, nil, `unknown command "surplus"`},
		{[]string{"run", "--workers", "x"}, nil, "workers"},
		{[]string{"run", "--workers", "-1", "--memory", "1KiB"}, nil, "penstock: workers -1: use 1 to 256\npenstock: memory 1024 bytes"},
		{[]string{"run", "--memory", "much"}, nil, `"much" is not a size`},
		{[]string{"run", "--updates", "some"}, nil, `"some" is none of every, last, closing`},
		{[]string{"run", "--app", "a b"}, nil, `application id "a b"`},
		{[]string{"tail", "--log-level", "loud"}, nil, "use debug, info, warn or error"},
		{[]string{"tail"}, []string{"PENSTOCK_BROKER=a:1"}, "unknown variable PENSTOCK_BROKER: did you mean PENSTOCK_BROKERS?"},
		{[]string{"tail"}, []string{"PENSTOCK_TAIL_LIMIT=x"}, "variable PENSTOCK_TAIL_LIMIT: tail.limit: "},
		{[]string{"audit", "--config", config}, nil, "unknown key brokrs: did you mean brokers?"},
		{[]string{"audit", "--config", config + "x"}, nil, "does not exist"},
		{[]string{"produce", "--connect", "a:1", "--listen", "b:1"}, nil, "exclude each other"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			v := startWith(t, c.environ, "", c.args...)
			v.end(t, exitUsage)
			require.Contains(t, v.stderr.String(), c.want)
			require.NotContains(t, v.stderr.String(), "Usage:")
			require.Empty(t, v.stdout.String())
		})
	}
}

func TestEachVerbHasExamples(t *testing.T) {
	for _, cmd := range (&program{}).root().Commands() {
		require.NotEmpty(t, cmd.Example, cmd.Name())
	}
}

func TestConfigNamesSourcesAndHidesSecrets(t *testing.T) {
	config := filepath.Join(t.TempDir(), "penstock.yaml")
	require.NoError(t, os.WriteFile(config, []byte("brokers: [a:1, b:2]\nworkers: 3\ninput: from-file\ntail: {from: start}\n"), 0o600))
	environ := []string{"PENSTOCK_CONFIG=" + config, "PENSTOCK_INPUT=from-variable", "PENSTOCK_SASL_PASSWORD=geheim", "PENSTOCK_PORT_8080_TCP=tcp://x"}
	c := startWith(t, environ, "", "config", "--workers", "4")
	c.end(t, 0)
	out := c.stdout.String()
	require.Regexp(t, `(?m)^brokers +a:1,b:2 +\S+penstock.yaml$`, out)
	require.Regexp(t, `(?m)^workers +4 +flag --workers$`, out)
	require.Regexp(t, `(?m)^input +from-variable +variable PENSTOCK_INPUT$`, out)
	require.Regexp(t, `(?m)^memory +64MiB +default$`, out)
	require.Contains(t, out, "(hidden)")
	require.NotContains(t, out, "geheim")

	c = startWith(t, environ, "", "config", "tail", "--json")
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), `"key": "tail.from",
    "value": "start"`)
}

// A first SIGTERM stops the service cleanly; so does one while it looks for its brokers.
func TestSignals(t *testing.T) {
	at := "--brokers=" + broker(t)
	for name, c := range map[string]struct {
		args []string
		wait string
		code int
	}{
		"run":  {[]string{"run", at, "--create-topics", "--state-dir", t.TempDir()}, "topic created.*dead-letters", 0},
		"demo": {[]string{"demo", "--log-level", "info"}, "topic created.*dead-letters", 0},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], c.args...)
			cmd.Env = []string{beMain + "=1", "HOME=" + t.TempDir()}
			stderr := newText()
			cmd.Stderr = stderr
			require.NoError(t, cmd.Start())
			stderr.await(t, c.wait)
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			began := time.Now()
			err := cmd.Wait()
			require.Equal(t, c.code, cmd.ProcessState.ExitCode(), "%v\n%s", err, stderr)
			require.Less(t, time.Since(began), 10*time.Second)
		})
	}
}
