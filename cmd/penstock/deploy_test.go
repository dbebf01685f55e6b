package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles/tlstest"
	"github.com/penstock/penstock/processor/engine"
)

// What deploy/ names is there: metrics of alerts and dashboard are exported, settings of the examples are known.
func TestDeployNamesWhatThereIs(t *testing.T) {
	w := httptest.NewRecorder()
	engine.NewMonitor().Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	exported := w.Body.String()
	metric := regexp.MustCompile(`\bpenstock_[a-z_]+`)
	// Those with labels appear with their first value.
	labelled := []string{"penstock_rejected_records_total", "penstock_cache_bytes", "penstock_restore_remaining_records", "penstock_restore_held",
		"penstock_partition_lag_records", "penstock_partition_behind_seconds", "penstock_partition_held_seconds", "penstock_partition_held_records"}
	for _, file := range []string{"prometheus/alerts.yaml", "grafana/penstock.json"} {
		raw, err := os.ReadFile("../../deploy/" + file)
		require.NoError(t, err)
		names := metric.FindAllString(string(raw), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			if !slices.Contains(labelled, name) {
				require.Contains(t, exported, name, "%s names a metric that is not exported", file)
			}
		}
	}
	source, err := os.ReadFile("../../processor/internal/telemetry/metrics.go")
	require.NoError(t, err)
	for _, name := range labelled {
		require.Regexp(t, `"(penstock_)?`+strings.TrimPrefix(name, "penstock_")+`"`, string(source))
	}
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
