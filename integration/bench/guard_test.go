package bench

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// report is what the guard reads of `penstock bench --json`.
type report struct {
	Ratio struct {
		CPU float64 `json:"cpu"`
	} `json:"processor_to_floor_ratio"`
	Processor struct {
		PeakRSSMiB          float64 `json:"peak_rss_mib"`
		KafkaBytesPerRecord float64 `json:"kafka_bytes_per_record"`
		Commits             int     `json:"commits"`
	} `json:"processor_median"`
	Floor struct {
		KafkaBytesPerRecord float64 `json:"kafka_bytes_per_record"`
	} `json:"floor_median"`
	ResumeSeconds float64 `json:"resume_seconds"`
	Exact         bool    `json:"exact"`
	Audits        int     `json:"audits"`
}

// The processor's CPU time stays within a few times that of a copy without any state, on whatever machine.
func TestTheProcessorStaysNearTheFloor(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a minute; run without -short")
	}
	file := filepath.Join(t.TempDir(), "penstock")
	out, err := exec.Command("go", "build", "-o", file, "../../cmd/penstock").CombinedOutput()
	require.NoError(t, err, "%s", out)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(file, "bench", "--json", "--records", "300000", "--keys", "20000", "--runs", "3", "--rate", "0", "--restart-keys", "20000")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)
	var r report
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &r))
	require.True(t, r.Exact)
	require.Equal(t, 4, r.Audits, "three runs and a restart")
	require.Less(t, r.Ratio.CPU, 2.5, "CPU time of the processor to the floor's: %s", &stdout)
	require.Less(t, r.Processor.KafkaBytesPerRecord, 2*r.Floor.KafkaBytesPerRecord, "bytes to Kafka: %s", &stdout)
	require.Positive(t, r.Processor.Commits)
	require.Positive(t, r.ResumeSeconds)
}
