package integration

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// address is where a process serves its HTTP.
func (p *process) address() string {
	p.t.Helper()
	var m []string
	require.Eventually(p.t, func() bool {
		m = regexp.MustCompile(`msg=http address=(\S+)`).FindStringSubmatch(p.log.tail(1 << 20))
		return m != nil
	}, 20*time.Second, 20*time.Millisecond)
	return "http://" + m[1]
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// F09, F20, F34, F51: held is told apart from behind; idle means no lag; a member without partitions is ready; while the
// broker is away the process is live and not ready, and both are ready after it.
func TestHealthAndLag(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "in", 1, nil)
	b.CreateTopic(t, "out", 1, nil)
	begin := func(name string) string {
		return start(t, "run", "--brokers", b.Addr(), "--app", "health", "--input", "in", "--output", "out", "--instance", name,
			"--state-dir", t.TempDir(), "--http", "127.0.0.1:0").address()
	}
	both := []string{begin("one"), begin("two")}
	ready := func(code int, within time.Duration) {
		t.Helper()
		for _, base := range both {
			require.Eventually(t, func() bool { got, _ := get(t, base+"/readyz"); return got == code }, within, 100*time.Millisecond)
			live, _ := get(t, base+"/livez")
			require.Equal(t, 200, live)
		}
	}
	ready(200, 30*time.Second)
	input := func() engine.Status {
		for _, base := range both {
			var s engine.Status
			_, body := get(t, base+"/api/v1/status")
			require.NoError(t, json.Unmarshal([]byte(body), &s))
			if len(s.Partitions) == 1 && len(s.Partitions[0].Inputs) == 1 {
				return s
			}
		}
		return engine.Status{}
	}

	holder, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.TransactionalID("holder"), kgo.TransactionTimeout(5*time.Minute))
	require.NoError(t, err)
	defer holder.Close()
	require.NoError(t, holder.BeginTransaction())
	require.NoError(t, holder.ProduceSync(t.Context(), &kgo.Record{Topic: "in", Key: []byte("x"), Value: []byte(`{"sessionId":"x","winAmount":1}`)}).FirstErr())
	produce(t, "--brokers", b.Addr(), "--input", "in", sample(t, 100))
	require.Eventually(t, func() bool {
		s := input()
		return len(s.Partitions) == 1 && s.Partitions[0].Inputs[0].HeldSeconds > 10
	}, 40*time.Second, 200*time.Millisecond)
	held := input().Partitions[0].Inputs[0]
	require.Zero(t, held.Lag, "%+v", held)
	require.EqualValues(t, 101, held.HeldRecords)
	require.NoError(t, holder.EndTransaction(t.Context(), kgo.TryAbort))
	require.Eventually(t, func() bool { return count(t, b, "out") >= 100 }, 30*time.Second, 200*time.Millisecond)
	require.Equal(t, 100, count(t, b, "out"))
	require.Eventually(t, func() bool {
		s := input()
		return len(s.Partitions) == 1 && s.Partitions[0].Inputs[0].Lag == 0 && s.Partitions[0].Inputs[0].HeldRecords == 0 && s.Partitions[0].Inputs[0].LastStableOffset == 102
	}, 20*time.Second, 200*time.Millisecond)

	b.Pause()
	ready(503, 40*time.Second)
	require.Eventually(t, func() bool { // a membership that is lost before may be the first reason
		_, body := get(t, both[0]+"/readyz")
		return strings.Contains(body, "the brokers have not answered for")
	}, 20*time.Second, 100*time.Millisecond)
	time.Sleep(15 * time.Second)
	ready(503, time.Second)
	b.Unpause()
	ready(200, 60*time.Second)
}
