package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// built is the directory of the program, once a test has asked for it.
var built string

// program is the built binary.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "penstock-integration")
	if err != nil {
		return "", err
	}
	built = dir
	file := filepath.Join(dir, "penstock")
	out, err := exec.Command("go", "build", "-o", file, "../cmd/penstock").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	if brokers := os.Getenv(tableProcess); brokers != "" {
		os.Exit(runTable(brokers))
	}
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// process is one run of the program.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  syncBuffer
	done chan struct{}
	err  error
}

// start runs the program until it ends by itself, is stopped, or the test is over.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	file, err := program()
	require.NoError(t, err)
	return startCommand(t, exec.Command(file, args...))
}

// startCommand is start for another program.
func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	require.NoError(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%v:\n%s", cmd.Args, p.log.tail(8000))
		}
	})
	return p
}

// kill ends it with SIGKILL and waits.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends it with SIGTERM; it must exit with status 0 within 10 s.
func (p *process) stop() {
	p.t.Helper()
	p.terminate()
	require.NoError(p.t, p.err, "%s", p.log.tail(4000))
}

// terminate ends it with SIGTERM, within 10 s. One that has not said a word yet may not have come to where it looks for
// signals.
func (p *process) terminate() {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.log.tail(1) != "" }, 30*time.Second, 5*time.Millisecond, "the process says nothing")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(p.t, err)
	}
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.t.Fatalf("the process does not stop within 10 s: %s", p.log.tail(4000))
	}
}

// running fails the test if the process has ended.
func (p *process) running() {
	p.t.Helper()
	select {
	case <-p.done:
		p.t.Fatalf("the process ended: %v\n%s", p.err, p.log.tail(4000))
	default:
	}
}

// run runs the program to its end and returns its standard output and exit status.
func run(t *testing.T, limit time.Duration, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	file, err := program()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, file, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// verdict is what `penstock audit --json` prints.
type verdict struct {
	Transactions, Updates, Deposits, DeadLetters, OpenSessions, Lost, Duplicated, Wrong, OutOfOrder int
}

// audit asks for the verdict of an application.
func audit(t *testing.T, args ...string) verdict {
	t.Helper()
	out, errs, status := run(t, 5*time.Minute, append([]string{"audit", "--json"}, args...)...)
	var v verdict
	require.NoError(t, json.Unmarshal([]byte(out), &v), "status %d\n%s\n%s", status, out, errs)
	require.Zero(t, v.Lost, "%s\n%s", out, errs)
	require.Zero(t, v.Duplicated, "%s\n%s", out, errs)
	require.Zero(t, v.Wrong, "%s\n%s", out, errs)
	require.Zero(t, v.OutOfOrder, "%s\n%s", out, errs)
	require.Zero(t, status, "%s\n%s", out, errs)
	return v
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
