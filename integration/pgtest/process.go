package pgtest

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// readyTimeout bounds a server's start, recovery after a crash included.
	readyTimeout = 60 * time.Second
	// readyInterval is the time between two looks whether it has started.
	readyInterval = 20 * time.Millisecond
	// stopTimeout bounds a shutdown.
	stopTimeout = 30 * time.Second
)

// own is a server's process.
type own struct {
	bin, dir string
	port     int
	cmd      *exec.Cmd
	done     chan struct{}
	log      buffer
}

// begin makes a server of the test's own.
func (s *Server) begin() {
	s.t.Helper()
	bin, err := programs()
	if err != nil {
		unavailable(s.t, err.Error())
	}
	s.own = &own{bin: bin, dir: s.t.TempDir(), port: freePort(s.t)}
	for dir := s.own.dir; dir != filepath.Dir(dir) && dir != os.TempDir(); dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) // the server's user is another one where we are root
	}
	password := filepath.Join(s.own.dir, "password")
	if err := os.WriteFile(password, []byte(Password+"\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	data := s.own.data()
	if err := os.Mkdir(data, 0o700); err != nil {
		s.t.Fatal(err)
	}
	give(s.t, data)
	out, err := s.own.command("initdb", "-D", data, "-U", role, "--pwfile", password, "--auth", "scram-sha-256", "-E", "UTF8", "--locale", "C").CombinedOutput()
	if err != nil {
		s.t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.dsn = (&url.URL{Scheme: "postgres", User: url.UserPassword(role, Password), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.own.port)), Path: "postgres"}).String()
	s.launch()
	s.t.Cleanup(func() {
		s.own.end(s.t, syscall.SIGQUIT)
		if s.t.Failed() {
			s.t.Logf("PostgreSQL:\n%s", s.own.log.tail(4000))
		}
	})
}

func (o *own) data() string { return filepath.Join(o.dir, "data") }

// launch returns when the server answers.
func (s *Server) launch() {
	s.t.Helper()
	o := s.own
	o.cmd = o.command("postgres", "-D", o.data(), "-p", strconv.Itoa(o.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
	o.cmd.Stdout, o.cmd.Stderr = &o.log, &o.log
	if err := o.cmd.Start(); err != nil {
		s.t.Fatalf("start PostgreSQL: %v", err)
	}
	done := make(chan struct{})
	o.done = done
	go func() {
		_ = o.cmd.Wait()
		close(done)
	}()
	for deadline := time.Now().Add(readyTimeout); ; time.Sleep(readyInterval) {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		conn, err := pgx.Connect(ctx, s.dsn)
		if err == nil {
			_ = conn.Close(ctx)
			cancel()
			return
		}
		cancel()
		select {
		case <-done:
			s.t.Fatalf("PostgreSQL ended while it started:\n%s", o.log.tail(4000))
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("PostgreSQL does not answer within %v: %v\n%s", readyTimeout, err, o.log.tail(4000))
		}
	}
}

// end waits until the process is gone.
func (o *own) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	select {
	case <-o.done:
		return
	default:
	}
	_ = o.cmd.Process.Signal(signal)
	select {
	case <-o.done:
	case <-time.After(stopTimeout):
		_ = o.cmd.Process.Kill()
		t.Fatalf("PostgreSQL does not stop within %v:\n%s", stopTimeout, o.log.tail(4000))
	}
}

func (o *own) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(o.bin, name), args...)
	cmd.Dir = o.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	asServerUser(cmd)
	return cmd
}

// programs finds the directory of initdb and postgres: Debian's newest, else that of PATH.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", err
	}
	slices.SortFunc(found, func(a, b string) int { return release(a) - release(b) })
	if len(found) == 0 {
		path, err := exec.LookPath("postgres")
		if err != nil {
			return "", errors.New("no program postgres is installed")
		}
		found = append(found, path)
	}
	file, err := filepath.EvalSymlinks(found[len(found)-1])
	return filepath.Dir(file), err
}

// release is N of /usr/lib/postgresql/N/bin/postgres.
func release(file string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(file))))
	return n
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *buffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *buffer) tail(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
