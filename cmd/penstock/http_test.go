package main

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles/tlstest"
	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
)

// ask returns the status and the body of an address, with a bearer token where one is given.
func ask(t *testing.T, url, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func TestRunShowsHowItFares(t *testing.T) {
	at := "--brokers=" + broker(t)
	c := startWith(t, []string{"PENSTOCK_HTTP_TOKEN=let-me-in"}, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--http", "127.0.0.1:0", "--instance", "t1")
	base := "http://" + c.stderr.await(t, `msg=http address=(\S+)`)[1]
	require.Eventually(t, func() bool { code, _ := ask(t, base+"/readyz", ""); return code == 200 }, 20*time.Second, 20*time.Millisecond)
	start(t, "s1,10\ns2,5\nx,1e99\n", "produce", at, "--input-format", "csv", "--skip-bad", "-").end(t, 0)

	for _, path := range []string{"/metrics", "/api/v1/status"} {
		code, _ := ask(t, base+path, "")
		require.Equal(t, 401, code, path)
		code, _ = ask(t, base+path, "wrong")
		require.Equal(t, 401, code, path)
	}
	code, _ := ask(t, base+"/debug/pprof/", "let-me-in")
	require.Equal(t, 404, code, "profiles are served by --pprof alone")

	var s engine.Status
	require.Eventually(t, func() bool {
		_, body := ask(t, base+"/api/v1/status", "let-me-in")
		require.NoError(t, json.Unmarshal([]byte(body), &s))
		return s.Counts.Records == 2
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, "penstock", s.App)
	require.Equal(t, "t1", s.Instance)
	require.Len(t, s.Partitions, 4)
	for _, p := range s.Partitions {
		require.Equal(t, "running", p.State)
	}
	_, body := ask(t, base+"/metrics", "let-me-in")
	for _, line := range []string{"penstock_records_total 2", "penstock_ready 1", "penstock_member_joined 1", "penstock_misplaced_records_total 0",
		"penstock_continuity_violations_total 0", `penstock_partitions{state="running"} 4`, "penstock_commit_duration_seconds_bucket", "penstock_store_bytes", "go_goroutines"} {
		require.Contains(t, body, line)
	}
	c.stop()
	c.end(t, 0)
	require.NotContains(t, c.stderr.String(), "let-me-in")
}

// HTTP by TLS shows a renewed certificate without a restart.
func TestHTTPIsServedByTLS(t *testing.T) {
	dir := t.TempDir()
	files := tlsfiles.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	tlstest.Write(t, files, "first")
	c := start(t, "", "run", "--brokers", broker(t), "--create-topics", "--state-dir", t.TempDir(), "--http", "127.0.0.1:0", "--http-tls-cert", files.Cert, "--http-tls-key", files.Key)
	addr := c.stderr.await(t, `msg=http address=(\S+) tls=true`)[1]
	for _, name := range []string{"first", "second"} {
		tlstest.Write(t, files, name)
		trust, err := tlsfiles.Open(tlsfiles.Files{CA: files.CA}, nil)
		require.NoError(t, err)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trust.Client()}}
		resp, err := client.Get("https://" + addr + "/livez")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, name, resp.TLS.PeerCertificates[0].Subject.CommonName)
	}
	c.stop()
	c.end(t, 0)

	c = start(t, "", "run", "--http", "127.0.0.1:0", "--http-tls-cert", files.Cert)
	c.end(t, exitUsage)
	require.Contains(t, c.stderr.String(), "http-tls-cert, http-tls-key: a certificate and its key go together")
}
