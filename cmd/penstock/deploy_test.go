package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles/tlstest"
)

// What alerts, dashboard and documents name is exported by a process that works: each metric, and each label that an
// expression selects or groups by.
func TestDeployNamesWhatThereIs(t *testing.T) {
	exported := scrape(t)
	metric := regexp.MustCompile(`\b(?:penstock|process|go)_[a-z_]+[a-z]\b`)
	label := regexp.MustCompile(`([a-z]+)=~?"|by \(([a-z, ]+)\)`)
	expressions := 0
	for _, file := range []string{"prometheus/alerts.yaml", "grafana/penstock.json"} {
		for _, expr := range exprs(t, file) {
			expressions++
			names := metric.FindAllString(expr, -1)
			var labels []string
			for _, name := range names {
				of, ok := exported[name]
				require.True(t, ok, "%s: %s is not exported: %s", file, name, expr)
				labels = append(labels, of...)
			}
			for _, m := range label.FindAllStringSubmatch(expr, -1) {
				for _, l := range strings.Split(m[1]+m[2], ",") {
					// Those of the scrape itself are no matter of the program.
					if l = strings.TrimSpace(l); l != "job" && l != "instance" {
						require.Contains(t, labels, l, "%s: no label %s in %s", file, l, expr)
					}
				}
			}
		}
	}
	require.Greater(t, expressions, 30)
	for _, file := range []string{"prometheus/alerts_test.yaml", "RUNBOOK.md", "OPERATING.md"} {
		raw, err := os.ReadFile("../../deploy/" + file)
		require.NoError(t, err)
		for _, name := range regexp.MustCompile(`\bpenstock_[a-z_]+[a-z]\b`).FindAllString(string(raw), -1) {
			if strings.HasPrefix(name, "penstock_deposit") || name == "penstock_schema_version" {
				continue // tables of the deposits verb
			}
			_, plain := exported[name]
			_, histogram := exported[name+"_bucket"]
			require.True(t, plain || histogram, "%s names %s, which is not exported", file, name)
		}
	}
}

// What the runbook quotes of the log and of /readyz is said by the program: each quotation of several words, in pieces between the
// values that it has.
func TestRunbookQuotesTheProgram(t *testing.T) {
	var source strings.Builder
	for _, root := range []string{"../../processor", ".", "../../statestore"} {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			source.Write(raw)
			return err
		}))
	}
	source.WriteString(context.DeadlineExceeded.Error())
	runbook, err := os.ReadFile("../../deploy/RUNBOOK.md")
	require.NoError(t, err)
	text := regexp.MustCompile(`(?m)^    .*$`).ReplaceAllString(string(runbook), "") // commands
	value := regexp.MustCompile(`\.\.\.|\b[A-Z0-9]+\b`)
	quoted := 0
	for _, m := range regexp.MustCompile("`([a-z][^`]* [^`]*)`").FindAllStringSubmatch(text, -1) {
		quote := strings.ReplaceAll(m[1], "\n", " ")
		if regexp.MustCompile(`^(penstock|kafka-[a-z]+\.sh|up|rate)\b|penstock_[a-z_]+ ==`).MatchString(quote) {
			continue // commands and expressions
		}
		quoted++
		for _, piece := range value.Split(quote, -1) {
			if piece = strings.TrimSpace(piece); len(piece) > 3 {
				assert.True(t, strings.Contains(source.String(), piece), "RUNBOOK.md quotes %q, but nothing says %q", quote, piece)
			}
		}
	}
	require.Greater(t, quoted, 15)
}

// exprs are the PromQL expressions of a file.
func exprs(t *testing.T, file string) []string {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/" + file)
	require.NoError(t, err)
	root, err := yaml.Parser().Unmarshal(raw) // JSON is YAML
	require.NoError(t, err)
	var found []string
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if text, ok := value.(string); ok && key == "expr" {
					found = append(found, text)
				}
				walk(value)
			}
		case []any:
			for _, value := range v {
				walk(value)
			}
		}
	}
	walk(root)
	return found
}

// scrape runs the service with all that it can do, and returns the labels of each sample by its name.
func scrape(t *testing.T) map[string][]string {
	t.Helper()
	addr := broker(t)
	at := "--brokers=" + addr
	c := start(t, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--http", "127.0.0.1:0", "--idle-timeout", "1h")
	base := "http://" + c.stderr.await(t, `msg=http address=(\S+)`)[1]
	require.Eventually(t, func() bool { code, _ := ask(t, base+"/readyz", ""); return code == 200 }, 20*time.Second, 20*time.Millisecond)
	send(t, addr, &kgo.Record{Topic: "transactions", Key: []byte("s1"), Value: []byte("not JSON")})
	send(t, addr, &kgo.Record{Topic: "transactions", Key: []byte("s1"), Value: []byte(`{"sessionId":"s1","winAmount":1}`)})
	send(t, addr, &kgo.Record{Topic: "transactions", Key: []byte("s1"), Value: []byte(`{"sessionId":"s1","winAmount":1,"deposit":true}`)})
	var body string
	require.Eventually(t, func() bool {
		_, body = ask(t, base+"/metrics", "")
		return strings.Contains(body, `penstock_output_records_total{topic="session-updates"} 2`) && strings.Contains(body, `penstock_state_removes_total{state="total"} 1`) && strings.Contains(body, `penstock_rejected_records_total{reason="json"} 1`)
	}, 20*time.Second, 50*time.Millisecond)
	c.stop()
	c.end(t, 0)

	found := map[string][]string{"up": nil}
	for _, m := range regexp.MustCompile(`(?m)^([a-z_]+)(?:\{(.*)\})? `).FindAllStringSubmatch(body, -1) {
		labels := found[m[1]]
		for _, l := range regexp.MustCompile(`([a-z]+)="`).FindAllStringSubmatch(m[2], -1) {
			labels = append(labels, l[1])
		}
		found[m[1]] = labels
	}
	return found
}

func TestExampleConfigurationsAreValid(t *testing.T) {
	for _, file := range []string{"penstock.example.yaml", "kubernetes/base/penstock.yaml", "kubernetes/overlays/production/penstock.yaml"} {
		raw, err := os.ReadFile("../../deploy/" + file)
		require.NoError(t, err)
		validConfig(t, file, string(raw))
	}
}

// validConfig checks a configuration whose mounted files are replaced by ones that are there.
func validConfig(t *testing.T, name, text string) {
	t.Helper()
	mounts := t.TempDir()
	tlstest.Write(t, tlsfiles.Files{CA: filepath.Join(mounts, "ca.crt"), Cert: filepath.Join(mounts, "tls.crt"), Key: filepath.Join(mounts, "tls.key")}, "test")
	file := filepath.Join(mounts, "penstock.yaml")
	text = regexp.MustCompile(`/etc/penstock-[a-z]+`).ReplaceAllString(text, mounts)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	c := startWith(t, []string{"PENSTOCK_SASL_PASSWORD=x", "PENSTOCK_SASL_OAUTH_SECRET=x"}, "", "config", "--config", file)
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), "session-updates", name)
}
