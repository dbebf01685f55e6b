package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/auditor"
	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Kinds of jobs, which are the names of the hidden commands too.
const (
	kindFloor     = "floor"
	kindProcessor = "processor"
)

// job is an application with topics of its own, run by one process after the other.
type job struct {
	kind               string
	app, input, output string
	changelog          string
	dir                string // of its state
	profile            string
}

// newJob makes the topics of an application. The input is there already.
func (b *bench) newJob(ctx context.Context, kind, input string) (*job, error) {
	b.jobs++
	app := fmt.Sprintf("%s-%s-%d", b.name, kind, b.jobs)
	j := &job{kind: kind, app: app, input: input, output: app + "-output", changelog: app + "-total-changelog",
		dir: filepath.Join(b.dir, app)}
	if err := b.createTopic(ctx, j.output, false); err != nil {
		return nil, err
	}
	if kind == kindProcessor {
		b.topics = append(b.topics, j.changelog, app+"-dead-letters") // the processor makes them
		return j, nil
	}
	return j, b.createTopic(ctx, j.changelog, true)
}

// discard frees what a job took.
func (b *bench) discard(j *job) {
	os.RemoveAll(j.dir)
	b.deleteTopics(j.output, j.changelog, j.app+"-dead-letters")
}

// child is a process at work on a job.
type child struct {
	job    *job
	cmd    *exec.Cmd
	began  time.Time
	log    *tail
	stdout bytes.Buffer
	http   string
	done   chan struct{}
	err    error
}

// ended is what a child prints at its end.
type ended struct {
	Transactions int64 `json:"transactions"` // of a floor
	PeakBytes    int64 `json:"peak_rss_bytes"`
	DiskBytes    int64 `json:"disk_bytes"`
}

// start runs a job's process.
func (b *bench) start(j *job) (*child, error) {
	c := &child{job: j, done: make(chan struct{}), log: &tail{}}
	args := []string{"bench", j.kind, "--log-level", "warn", "--app", j.app, "--input", j.input, "--output", j.output,
		"--workers", strconv.Itoa(b.cfg.Workers), "--guarantee", b.cfg.Guarantee}
	args = append(args, connectionArgs(b.conn)...)
	if j.kind == kindProcessor {
		var err error
		if c.http, err = freeAddress(); err != nil {
			return nil, err
		}
		args = append(args, "--state-dir", j.dir, "--updates", b.cfg.Updates, "--memory", strconv.FormatInt(b.cfg.Memory, 10),
			"--http", c.http, "--input-format", "json", "--bad-input", "dlq", "--from", "start")
		if j.profile != "" {
			args = append(args, "--profile", j.profile)
		}
	}
	c.cmd = exec.Command(b.cfg.Program, args...) // #nosec G204 -- this program itself, or one that the flag names
	c.cmd.Env = append(os.Environ(), "PENSTOCK_SASL_PASSWORD="+b.conn.Password, "PENSTOCK_SASL_OAUTH_SECRET="+b.conn.OAuth.Secret)
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, c.log
	c.began = time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func connectionArgs(c *kafka.Connection) []string {
	args := []string{"--brokers", strings.Join(c.Brokers, ","), "--tls=" + strconv.FormatBool(c.TLS)}
	for _, f := range [][2]string{{"--client-id", c.ID}, {"--rack", c.Rack}, {"--tls-ca", c.CA}, {"--tls-cert", c.Cert}, {"--tls-key", c.Key},
		{"--sasl", c.SASL}, {"--sasl-user", c.User}, {"--sasl-oauth-token-file", c.OAuth.TokenFile}, {"--sasl-oauth-command", c.OAuth.Command},
		{"--sasl-oauth-url", c.OAuth.URL}, {"--sasl-oauth-scope", c.OAuth.Scope}, {"--sasl-oauth-extensions", strings.Join(c.OAuth.Extensions, ",")}} {
		if f[1] != "" {
			args = append(args, f[0], f[1])
		}
	}
	return args
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// failure is an error if the process has ended.
func (c *child) failure() error {
	select {
	case <-c.done:
		return fmt.Errorf("the process ended: %w\n%s", c.err, c.log)
	default:
		return nil
	}
}

// stopTimeout is how long a process may take to stop.
const stopTimeout = 20 * time.Second

// stop ends the process in the ordinary way and returns its last words.
func (c *child) stop() (ended, error) {
	var e ended
	if err := c.failure(); err != nil {
		return e, err
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return e, err
	}
	select {
	case <-c.done:
	case <-time.After(stopTimeout):
		c.kill()
		return e, fmt.Errorf("the process does not stop within %v\n%s", stopTimeout, c.log)
	}
	if c.err != nil {
		return e, fmt.Errorf("the process failed: %w\n%s", c.err, c.log)
	}
	return e, json.Unmarshal(c.stdout.Bytes(), &e)
}

// kill ends the process by SIGKILL.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
}

// cpu is the time that the ended process took.
func (c *child) cpu() time.Duration {
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// commits asks a processor for its count of commits.
func (c *child) commits() int64 {
	client := http.Client{Timeout: time.Second}
	resp, err := client.Get("http://" + c.http + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "penstock_commit_duration_seconds_count "); ok {
			n, _ := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			return int64(n)
		}
	}
	return 0
}

// processed are the records that the job's group has committed.
func (b *bench) processed(ctx context.Context, j *job, starts kafka.Ends) (int64, error) {
	at, err := auditor.Committed(ctx, b.cl, j.app, j.input, starts)
	return total(at), err
}

func total(e kafka.Ends) (n int64) {
	for _, o := range e {
		n += o
	}
	return n
}

// Usage writes what a child prints at its end. Its own view of its memory is the one that counts: the resource usage
// that a parent is told includes the parent's own memory from before the program was loaded.
func Usage(w io.Writer, transactions int64) error {
	e := ended{Transactions: transactions, PeakBytes: procField("/proc/self/status", "VmHWM:") << 10,
		DiskBytes: procField("/proc/self/io", "write_bytes:")}
	if e.PeakBytes == 0 {
		e.PeakBytes = peakBytes()
	}
	return json.NewEncoder(w).Encode(e)
}

// procField reads a number from a file of Linux's /proc, 0 where there is none.
func procField(file, name string) int64 {
	raw, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}

// tail keeps the last of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - tailBytes; n > tailBytes {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b[max(0, len(t.b)-tailBytes):])
}
