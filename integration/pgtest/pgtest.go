// Package pgtest gives a test a real PostgreSQL, and the means to break it.
//
// Start takes, in this order:
//
//   - the server that PENSTOCK_TEST_POSTGRES names by a DSN, in which each test makes a database of its own; what would
//     break the server skips the test;
//   - else a server of the test's own, run from the newest PostgreSQL that is installed (Debian's package postgresql, or
//     the programs in PATH); not with PENSTOCK_TEST_POSTGRES=none;
//   - else it skips the test and says how to run it. Where CI=true it fails instead: CI skips nothing.
//
// With -short every test that needs a server is skipped.
package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	// requestTimeout bounds one statement of a test's set-up.
	requestTimeout = 30 * time.Second

	role = "penstock"
)

// Password is that of the server's user. No output of the program may hold it.
const Password = "s3cret/w%rd"

// Server lives as long as the test that started it. Its address stays the same over Crash and Restart. Its methods may be
// called from one goroutine at a time.
type Server struct {
	t   testing.TB
	dsn string // of the database postgres, or of the one that the environment names
	own *own   // nil for a server that is not ours
}

// own is a server's process.
type own struct {
	bin, dir string
	port     int
	cmd      *exec.Cmd
	done     chan struct{}
	log      buffer
}

// Start returns a server that answers. It is removed with its data when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a PostgreSQL: run without -short")
	}
	s := &Server{t: t}
	switch named := os.Getenv("PENSTOCK_TEST_POSTGRES"); named {
	case "none":
		unavailable(t, "PENSTOCK_TEST_POSTGRES=none asks for none")
	case "":
		s.begin()
	default:
		s.dsn = named
	}
	return s
}

// unavailable ends a test that has no server: in CI it fails, elsewhere it is skipped and says how to run it.
func unavailable(t testing.TB, why string) {
	t.Helper()
	message := "needs a PostgreSQL: install one (apt-get install postgresql), or set PENSTOCK_TEST_POSTGRES=DSN; " + why
	if os.Getenv("CI") == "true" {
		t.Fatal(message)
	}
	t.Skip(message)
}

// Database makes a database with this encoding, "UTF8" say, and returns its DSN.
func (s *Server) Database(encoding string) string {
	s.t.Helper()
	name := "penstock_" + strings.ToLower(rand.Text()[:12])
	s.exec(fmt.Sprintf(`CREATE DATABASE %s ENCODING '%s' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`, name, encoding))
	if s.own == nil {
		s.t.Cleanup(func() { s.exec(`DROP DATABASE IF EXISTS ` + name + ` WITH (FORCE)`) })
	}
	cfg, err := pgx.ParseConfig(s.dsn)
	if err != nil {
		s.t.Fatal("PENSTOCK_TEST_POSTGRES is not a DSN") // which may hold a password
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Path: name,
		Host: net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port)))}
	return u.String()
}

// Connect opens a connection that is closed when t ends.
func Connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func (s *Server) exec(sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.dsn)
	if err != nil {
		s.t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// Crash ends the server at once: transactions that are open are lost, and the next start recovers from its log.
func (s *Server) Crash() {
	s.t.Helper()
	s.skipUnlessOurs("crashes PostgreSQL")
	s.own.end(s.t, syscall.SIGQUIT)
}

// Restart starts the server after Crash.
func (s *Server) Restart() {
	s.t.Helper()
	s.skipUnlessOurs("starts PostgreSQL")
	s.launch()
}

func (s *Server) skipUnlessOurs(what string) {
	s.t.Helper()
	if s.own == nil {
		s.t.Skipf("%s, which is not done to the server of PENSTOCK_TEST_POSTGRES", what)
	}
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
