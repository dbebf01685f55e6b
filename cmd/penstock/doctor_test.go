package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/cmd/penstock/internal/doctor"
)

func TestDoctorSaysWhatToDo(t *testing.T) {
	addr := broker(t)
	at := "--brokers=" + addr
	dir := t.TempDir()
	c := start(t, "", "doctor", at, "--state-dir", dir)
	c.end(t, exitFailure)
	require.Regexp(t, `fail  input +topic transactions does not exist\n +-> create it, or run with --create-topics`, c.stdout.String())
	require.Contains(t, c.stderr.String(), "2 checks fail")
	start(t, "", "doctor", at, "--state-dir", dir, "--create-topics").end(t, 0)

	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for _, topic := range []string{"transactions", "session-updates"} {
		_, err = adm.CreateTopic(t.Context(), 4, 1, nil, topic)
		require.NoError(t, err)
	}
	policy := "delete"
	_, err = adm.CreateTopic(t.Context(), 2, 1, map[string]*string{"cleanup.policy": &policy}, "penstock-total-changelog")
	require.NoError(t, err)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	c = start(t, "", "doctor", at, "--state-dir", filepath.Join(file, "below"), "--json")
	c.end(t, exitFailure)
	var checks []doctor.Check
	require.NoError(t, json.Unmarshal([]byte(c.stdout.String()), &checks))
	found := map[string]doctor.Level{}
	for _, check := range checks {
		if found[check.What] != doctor.Fail {
			found[check.What] = check.Level
		}
		require.True(t, check.Level == doctor.OK || check.Do != "", "%+v", check)
	}
	t.Log(c.stdout.String())
	require.Equal(t, doctor.Fail, found["state directory"])
	require.Equal(t, doctor.Fail, found["changelog"])
	require.Equal(t, doctor.OK, found["clock"])
	require.Equal(t, doctor.OK, found["transactions"])
	require.Equal(t, doctor.OK, found["input"])

	c = start(t, "", "doctor", "--brokers=127.0.0.1:1", "--state-dir", dir)
	c.end(t, exitFailure)
	require.Contains(t, c.stdout.String(), "nobody listens at 127.0.0.1:1")
}

// Brokers that have just started have no coordinator for a moment: no finding.
func TestDoctorWaitsForACoordinator(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "transactions", "session-updates"))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	asked := 0
	cluster.ControlKey(int16(kmsg.FindCoordinator), func(r kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if asked++; asked > 4 {
			return nil, nil, false
		}
		req := r.(*kmsg.FindCoordinatorRequest)
		resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
		for _, key := range req.CoordinatorKeys {
			c := kmsg.NewFindCoordinatorResponseCoordinator()
			c.Key, c.NodeID, c.Port, c.ErrorCode = key, -1, -1, kerr.CoordinatorNotAvailable.Code
			resp.Coordinators = append(resp.Coordinators, c)
		}
		return resp, nil, true
	})
	start(t, "", "doctor", "--brokers="+cluster.ListenAddrs()[0], "--state-dir", t.TempDir()).end(t, 0)
	require.Greater(t, asked, 4)
}
