package main

import (
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/stretchr/testify/require"

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
	example, err := os.ReadFile("../../deploy/penstock.example.yaml")
	require.NoError(t, err)
	manifest, err := os.ReadFile("../../deploy/kubernetes/penstock.yaml")
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(manifest), "\n---\n")
	parsed, err := yaml.Parser().Unmarshal([]byte(first))
	require.NoError(t, err)
	inManifest := parsed["data"].(map[string]any)["penstock.yaml"].(string)
	for name, text := range map[string]string{"example": string(example), "manifest": inManifest} {
		file := t.TempDir() + "/penstock.yaml"
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		c := start(t, "", "config", "--config", file)
		c.end(t, 0)
		require.Contains(t, c.stdout.String(), "session-updates", name)
	}
	for _, doc := range strings.Split(string(manifest), "\n---\n") {
		_, err := yaml.Parser().Unmarshal([]byte(doc))
		require.NoError(t, err)
	}
}
