package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/integration/pgtest"
)

const nobody = "postgres://penstock:geheim@127.0.0.1:1/bank"

// The DSN may hold a password: nothing shows it.
func TestDepositsHidesTheDSN(t *testing.T) {
	at := "--brokers=" + broker(t, "session-updates")
	environ := []string{"PENSTOCK_DEPOSITS_POSTGRES=" + nobody, "PENSTOCK_LOG_LEVEL=debug"}
	c := startWith(t, environ, "", "config", "deposits")
	c.end(t, 0)
	require.Regexp(t, `(?m)^deposits\.postgres +\(hidden\) +variable PENSTOCK_DEPOSITS_POSTGRES$`, c.stdout.String())
	require.NotContains(t, c.stdout.String()+c.stderr.String(), "geheim")

	c = startWith(t, environ, "", "deposits", at, "--http", "127.0.0.1:0")
	base := "http://" + c.stderr.await(t, `msg=http address=(\S+)`)[1]
	c.stderr.await(t, `msg=waiting for="connect to postgres://127.0.0.1:1/bank: .*refused`)
	require.Eventually(t, func() bool {
		_, body := ask(t, base+"/metrics", "")
		return strings.Contains(body, "\npenstock_deposits_waiting 1\n")
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, 503, status(t, base+"/readyz"))
	require.Equal(t, 200, status(t, base+"/livez"))
	c.stop() // also while it waits
	c.end(t, 0)
	require.NotContains(t, c.stdout.String()+c.stderr.String(), "geheim")

	c = start(t, "", "deposits", at, "--postgres", "postgres://u:geheim@h:port/d")
	c.end(t, exitUsage)
	require.Contains(t, c.stderr.String(), "the DSN of PostgreSQL cannot be read")
	require.NotContains(t, c.stderr.String(), "geheim")
}

func TestDepositsWrongUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"no database: give --postgres or PENSTOCK_DEPOSITS_POSTGRES": {},
		`skip "3": use PARTITION/OFFSET`:                             {"--postgres", nobody, "--skip", "1/2,3"},
		"session timeout 1ms: use at least 1s":                       {"--postgres", nobody, "--session-timeout", "1ms"},
	} {
		c := start(t, "", append([]string{"deposits"}, args...)...)
		c.end(t, exitUsage)
		require.Contains(t, c.stderr.String(), want)
	}
	c := start(t, "", "deposits", "--postgres", nobody, "--brokers", broker(t))
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), "topic session-updates does not exist")
}

// From the input to the database, with a real server.
func TestDepositsInPostgreSQL(t *testing.T) {
	server := pgtest.Start(t)
	dsn := server.Database("UTF8")
	at := "--brokers=" + broker(t)
	service := start(t, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--idle-timeout", "1s")
	service.stderr.await(t, "topic created.*dead-letters")
	environ := []string{"PENSTOCK_DEPOSITS_POSTGRES=" + dsn}
	p := startWith(t, environ, "", "deposits", at, "--http", "127.0.0.1:0")
	base := "http://" + p.stderr.await(t, `msg=http address=(\S+)`)[1]
	p.stderr.await(t, `msg="database migrated"`)
	require.Eventually(t, func() bool { return status(t, base+"/readyz") == 200 }, 30*time.Second, 20*time.Millisecond, p.stderr)
	start(t, "s1,100\ns1,20.50,true\ns2,0.10\n", "produce", at).end(t, 0)
	conn := pgtest.Connect(t, dsn)
	rows := func() (text string) {
		err := conn.QueryRow(t.Context(), `SELECT coalesce(string_agg(concat_ws(' ', session_id, amount, reason), ', ' ORDER BY session_id), '') FROM penstock_deposits`).Scan(&text)
		require.NoError(t, err)
		return text
	}
	require.Eventually(t, func() bool { return rows() == "s1 120.50 deposit, s2 0.10 idle-timeout" }, 30*time.Second, 50*time.Millisecond, p.stderr)
	require.EventuallyWithT(t, func(col *assert.CollectT) {
		_, body := ask(t, base+"/metrics", "")
		for _, line := range []string{"penstock_deposits_stored_total 2", "penstock_deposits_waiting 0", `penstock_deposits_lag_records{partition="0"} 0`} {
			assert.Contains(col, body, "\n"+line+"\n")
		}
	}, 20*time.Second, 50*time.Millisecond)

	send(t, at, &kgo.Record{Topic: "session-updates", Key: []byte("s"), Value: []byte("forged")})
	p.end(t, exitFailure)
	require.Regexp(t, `topic session-updates partition \d+ offset \d+ is no session update`, p.stderr.String())
	service.stop()
	service.end(t, 0)
}

func TestDepositsStopsAtSIGTERM(t *testing.T) {
	cmd := exec.Command(os.Args[0], "deposits", "--brokers="+broker(t, "session-updates"), "--postgres="+nobody)
	cmd.Env = []string{beMain + "=1", "HOME=" + t.TempDir()}
	stderr := newText()
	cmd.Stderr = stderr
	require.NoError(t, cmd.Start())
	stderr.await(t, "msg=waiting")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	began := time.Now()
	require.NoError(t, cmd.Wait(), stderr)
	require.Less(t, time.Since(began), 10*time.Second)
}
