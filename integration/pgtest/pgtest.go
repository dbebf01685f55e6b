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
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
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
