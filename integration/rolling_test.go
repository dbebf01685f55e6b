package integration

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// docker runs a command of Docker's and returns what it prints.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	require.NoError(t, err, "docker %v: %s", args, out)
	return strings.TrimSpace(string(out))
}

// replica is a container of penstock's image: as restricted as the manifests' and on this host's network.
type replica struct {
	t    *testing.T
	id   string
	http string
}

func (c *cluster) replica(image string, n int) *replica {
	c.t.Helper()
	r := &replica{t: c.t, http: fmt.Sprintf("127.0.0.1:%d", kafkatest.FreePort(c.t))}
	r.id = docker(c.t, "run", "-d", "--label", kafkatest.Label+"=true", "--network", "host", "--read-only", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges", image, "run", "--brokers", c.broker.Addr(), "--app", c.app,
		"--instance", fmt.Sprintf("replica-%d", n), "--session-timeout", "45s", "--transaction-timeout", "30s", "--stay", "--http", r.http)
	c.t.Cleanup(func() {
		if c.t.Failed() {
			out, _ := exec.Command("docker", "logs", "--tail", "60", r.id).CombinedOutput()
			c.t.Logf("replica %d:\n%s", n, out)
		}
		_ = exec.Command("docker", "rm", "-fv", r.id).Run()
	})
	return r
}

// ready waits as the rollout of a StatefulSet does.
func (r *replica) ready() {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		resp, err := http.Get("http://" + r.http + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "a replica is not ready")
}

// The image, three replicas of it, is restarted one by one under load, twice: each stops with exit status 0 within its
// grace, comes back with its own partitions, and the audit is exact.
func TestARollingRestartOfTheImageIsExact(t *testing.T) {
	c := newCluster(t, "rolling", 6)
	const image = "penstock:rolling-test"
	out, err := exec.Command("../deploy/image.sh", image).CombinedOutput()
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", image).Run() })
	var replicas []*replica
	for n := range 3 {
		replicas = append(replicas, c.replica(image, n))
	}
	for _, r := range replicas {
		r.ready()
	}
	const count = 150_000
	wait := c.feeding(count, 30*time.Second)
	for range 2 {
		for n, r := range replicas {
			began := time.Now()
			docker(t, "stop", "--time", "30", r.id)
			require.Equal(t, "0", docker(t, "inspect", "-f", "{{.State.ExitCode}}", r.id))
			stopped := time.Since(began)
			docker(t, "start", r.id)
			r.ready()
			t.Logf("replica %d: stopped in %v, ready again after %v", n, stopped.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
		}
	}
	wait()
	require.Equal(t, count, c.audit().Transactions)
}
