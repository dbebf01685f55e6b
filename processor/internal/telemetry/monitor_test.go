package telemetry

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a monitor whose time the test moves.
func clock() (*Monitor, func(time.Duration)) {
	m := New()
	now := time.Unix(1000, 0)
	m.now = func() time.Time { return now }
	return m, func(d time.Duration) { now = now.Add(d) }
}

func get(t *testing.T, m *Monitor, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return w.Code, string(body)
}

func offsets(stable, high int64) map[int32]broker.Bounds {
	return map[int32]broker.Bounds{0: {LSO: stable, HW: high}}
}

// F20: live while the loops turn; ready when joined and every own partition is processed, with the progress in numbers
// before that and while the brokers are silent.
func TestReadyFollowsTheWork(t *testing.T) {
	m, pass := clock()
	unready := func(says string) {
		t.Helper()
		code, body := get(t, m, "/readyz")
		require.Equal(t, 503, code, body)
		require.Contains(t, body, says)
		code, body = get(t, m, "/livez")
		require.Equal(t, 200, code, body)
	}
	unready("starting")
	m.Start("app", "node-1", func() Counts { return Counts{Records: 7} })
	m.Beat("w0")
	unready("have not answered yet")
	m.answered("in", offsets(0, 0), nil)
	unready("joining the group")
	m.answered("in", nil, errors.New("connection refused"))
	unready("joining the group, and the brokers did not answer: connection refused")
	m.answered("in", offsets(0, 0), nil)
	m.Acquired(0)
	m.Joined(true)
	m.Restoring(0, Restore{State: "total", Position: 250, Target: 1000, LastStableOffset: 1000})
	unready("restoring 1 of 1 partitions: 750 changelog records to read")
	m.Restoring(0, Restore{State: "total", Position: 900, Target: 1000, LastStableOffset: 900})
	unready("partition 0 waits at offset 900 of total's changelog for an open transaction")
	m.Running(0, []string{"in"}, []string{"total"}, []int64{5})
	code, body := get(t, m, "/readyz")
	require.Equal(t, 200, code, body)

	pass(time.Minute)
	m.Beat("w0")
	m.answered("in", nil, errors.New("connection refused"))
	unready("the brokers have not answered for 1m0s: connection refused")
	m.answered("in", offsets(0, 0), nil)
	code, body = get(t, m, "/readyz")
	require.Equal(t, 200, code, body)

	pass(3 * time.Minute)
	code, body = get(t, m, "/livez")
	require.Equal(t, 503, code)
	require.Contains(t, body, "worker w0 has not turned for 3m0s")
}

// F34: a member without partitions stands by, and is ready.
func TestAMemberWithoutPartitionsIsReady(t *testing.T) {
	m, _ := clock()
	m.Start("app", "node-1", nil)
	m.answered("in", offsets(0, 0), nil)
	m.Joined(true)
	code, body := get(t, m, "/readyz")
	require.Equal(t, 200, code, body)
}

// F09, F51: lag is to the last stable offset and 0 when idle; what an open transaction holds is told apart.
func TestHeldIsNotBehind(t *testing.T) {
	m, pass := clock()
	m.Start("app", "node-1", nil)
	m.Running(0, []string{"in"}, []string{"total"}, []int64{10})
	in := func() Input { return m.Status().Partitions[0].Inputs[0] }
	require.EqualValues(t, -1, in().LastStableOffset)
	m.answered("in", offsets(10, 10), nil)
	require.Zero(t, in().Lag)

	m.answered("in", offsets(30, 130), nil) // behind, and a transaction is open
	pass(5 * time.Second)
	require.EqualValues(t, 20, in().Lag)
	require.EqualValues(t, 5, in().BehindSeconds)
	require.Zero(t, in().HeldSeconds)
	m.Committed(0, func(int) int64 { return 30 }, Cache{Bytes: 99})
	pass(10 * time.Second)
	m.answered("in", offsets(30, 130), nil)
	require.Zero(t, in().Lag)
	require.EqualValues(t, 15, in().HeldSeconds)
	require.EqualValues(t, 100, in().HeldRecords)
	_, body := get(t, m, "/metrics")
	require.Contains(t, body, `penstock_partition_held_records{partition="0",topic="in"} 100`)
	require.Contains(t, body, `penstock_partition_lag_records{partition="0",topic="in"} 0`)

	m.answered("in", offsets(90, 130), nil) // it moves: transactions come and go
	require.Zero(t, in().HeldSeconds)
}

// A nil monitor takes everything.
func TestNilMonitor(t *testing.T) {
	var m *Monitor
	m.Start("a", "b", nil)
	m.Beat("w")
	m.Acquired(0)
	m.CommitTook(time.Second)
	m.Rejected("x")
	m.Watch(t.Context(), []string{"in"}, nil)
}
