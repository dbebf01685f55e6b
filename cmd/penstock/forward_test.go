package main

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles/tlstest"
	"github.com/stretchr/testify/require"
)

// Processes whose certificates an authority of one's own signed ask each other for state if they are told of it, and are
// refused by their own TLS if not.
func TestStateIsAskedForByTLS(t *testing.T) {
	dir, at := t.TempDir(), "--brokers="+broker(t)
	files := tlsfiles.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	tlstest.Write(t, files, "own")
	trust, err := tlsfiles.Open(tlsfiles.Files{CA: files.CA}, nil)
	require.NoError(t, err)
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust.Client()}}
	get := func(url string) (int, string) {
		resp, err := client.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	process := func(instance string, more ...string) (*call, string) {
		c := start(t, "", append([]string{"run", at, "--create-topics", "--state-dir", t.TempDir(), "--instance", instance, "--http", "127.0.0.1:0",
			"--http-tls-cert", files.Cert, "--http-tls-key", files.Key}, more...)...)
		return c, "https://" + c.stderr.await(t, `msg=http address=(\S+) tls=true`)[1]
	}
	told, tellsAll := process("told", "--http-tls-ca", files.CA)
	untold, refuses := process("untold")

	require.Eventually(t, func() bool { status, _ := get(tellsAll + "/readyz"); return status == 200 }, 30*time.Second, 50*time.Millisecond)

	var csv strings.Builder
	for i := range 40 {
		fmt.Fprintf(&csv, "s%d,%d\n", i, i+1)
	}
	start(t, csv.String(), "produce", at, "--input-format", "csv", "-").end(t, 0)

	shared := func() bool { // each owns some, and has processed it
		_, body := get(refuses + "/api/v1/owners")
		own, _ := get(refuses + "/readyz")
		other, _ := get(tellsAll + "/readyz")
		if own != 200 || other != 200 || !strings.Contains(body, `"told"`) || !strings.Contains(body, `"untold"`) {
			return false
		}
		for i := range 40 {
			if status, _ := get(fmt.Sprintf("%s/api/v1/state/total/s%d", tellsAll, i)); status != 200 {
				return false
			}
		}
		return true
	}
	require.Eventually(t, shared, 30*time.Second, 50*time.Millisecond)
	for i := range 40 {
		c := start(t, "", "state", "get", fmt.Sprintf("s%d", i), "--endpoint", tellsAll, "--http-tls-ca", files.CA)
		c.end(t, 0)
		require.Contains(t, c.stdout.String(), fmt.Sprint(i+1))
	}
	local := strings.TrimPrefix(tellsAll, "https://") // as a configuration that state shares with run names it
	c := start(t, "", "state", "get", "s7", "--http", local, "--http-tls-cert", files.Cert)
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), "8")
	other := filepath.Join(dir, "other.pem")
	tlstest.Write(t, tlsfiles.Files{Cert: other}, "other")
	began := time.Now()
	c = start(t, "", "state", "get", "s7", "--http", local, "--http-tls-cert", other)
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), local+" shows another certificate than that of "+other)
	require.Less(t, time.Since(began), 15*time.Second, "it is asked again and again")

	refused, body := 0, ""
	for i := range 40 {
		if status, got := get(fmt.Sprintf("%s/api/v1/state/total/s%d", refuses, i)); status != 200 {
			refused, body = refused+1, got
		}
	}
	require.NotZero(t, refused, "the process that was not told of the authority owns everything")
	require.Less(t, refused, 40)
	require.Contains(t, body, "certificate")

	told.stop()
	untold.stop()
	told.end(t, 0)
	untold.end(t, 0)

	c = start(t, "", "state", "get", "s7", "--http", local, "--http-tls-cert", filepath.Join(dir, "none.pem"))
	c.end(t, exitUsage)
	require.Contains(t, c.stderr.String(), "http-tls-cert: ")
	c = start(t, "", "run", "--http", "127.0.0.1:0", "--http-tls-ca", filepath.Join(dir, "none.pem"))
	c.end(t, exitUsage)
	require.Contains(t, c.stderr.String(), "http-tls-ca: ")
}
