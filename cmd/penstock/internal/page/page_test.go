package page

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// after is a sample of a process so many seconds old: 100 records and one commit of 3 ms a second.
func after(seconds int64) (s engine.Status) {
	s.Counts.Records = 100 * seconds
	s.CommitTimes = []engine.CommitTime{{UpTo: 0.002}, {UpTo: 0.004, Commits: seconds}, {}}
	if err := json.Unmarshal([]byte(`[{"inputs":[{"lag":5},{"lag":2}]}]`), &s.Partitions); err != nil {
		panic(err)
	}
	return s
}

func TestTheHourIsBounded(t *testing.T) {
	var now int64
	s := newSampler(func() engine.Status { return after(now) })
	began := time.Now()
	for now = 1; now <= 2*hourPoints*pointEvery; now++ {
		s.take(began.Add(time.Duration(now) * time.Second))
	}
	v, made, _ := s.view(0)
	require.Equal(t, 2*hourPoints, made)
	require.Len(t, v.Hour, hourPoints)
	for _, p := range append(v.Hour, v.Now) {
		require.InDelta(t, 100, p.Rate, 0.1)
		require.InDelta(t, 3, p.P50, 0.01)
		require.InDelta(t, 3.98, p.P99, 0.01)
		require.EqualValues(t, 7, p.Lag)
	}
	require.InDelta(t, nowOver, v.Now.Per, 0.01)
	require.InDelta(t, pointEvery, v.Hour[0].Per, 0.01)

	v, _, _ = s.view(made - 2)
	require.Len(t, v.Hour, 2, "only what was not sent before")
	v, _, _ = s.view(made)
	require.Empty(t, v.Hour)
}

func TestQuantiles(t *testing.T) {
	require.EqualValues(t, -1, quantile(nil, 0.5))
	require.EqualValues(t, -1, quantile([]engine.CommitTime{{UpTo: 1}, {}}, 0.5))
	times := []engine.CommitTime{{UpTo: 0.001, Commits: 10}, {UpTo: 0.005}, {UpTo: 0.01, Commits: 80}, {Commits: 10}}
	require.InDelta(t, 0.5, quantile(times, 0.05), 1e-9)
	require.InDelta(t, 7.5, quantile(times, 0.5), 1e-9)
	require.InDelta(t, 10, quantile(times, 0.99), 1e-9, "above the last bound")
}

// serve runs a page over HTTP.
func serve(t *testing.T, p *Page) (url string, end context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := httptest.NewServer(p.Handler(ctx))
	t.Cleanup(func() { cancel(); s.Close(); http.DefaultClient.CloseIdleConnections() })
	return s.URL, cancel
}

func get(t *testing.T, url string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestStreamsAreBoundedAndEnd(t *testing.T) {
	url, end := serve(t, &Page{Status: func() engine.Status { return engine.Status{App: "a"} }})
	var streams []*bufio.Scanner
	for range maxStreams {
		r := get(t, url+"/api/v1/events")
		require.Equal(t, "text/event-stream", r.Header.Get("Content-Type"))
		streams = append(streams, bufio.NewScanner(r.Body))
		streams[len(streams)-1].Buffer(nil, 1<<20)
	}
	next := func(s *bufio.Scanner) (v view) {
		for s.Scan() {
			if body, ok := strings.CutPrefix(s.Text(), "data: "); ok {
				require.NoError(t, json.Unmarshal([]byte(body), &v))
				return v
			}
		}
		t.Fatal("the stream ended")
		return v
	}
	for _, s := range streams {
		require.Equal(t, "a", next(s).Status.App)
	}
	require.Equal(t, "a", next(streams[0]).Status.App, "another sample")
	refused := get(t, url+"/api/v1/events")
	require.Equal(t, http.StatusServiceUnavailable, refused.StatusCode)
	require.NotEmpty(t, refused.Header.Get("Retry-After"))
	end()
	for _, s := range streams {
		for s.Scan() { // to its end
		}
		require.NoError(t, s.Err())
	}
}

func TestWhatIsServed(t *testing.T) {
	url, _ := serve(t, &Page{Status: func() engine.Status { return engine.Status{} }, State: "total",
		Config:  []string{"x"},
		Owners:  func(context.Context) ([]Owner, error) { return []Owner{{Instance: "n", Partitions: []int32{3}}}, nil },
		Updates: func(_ context.Context, s string) ([]Update, error) { return nil, errors.New("no right for " + s) }})
	for _, path := range []string{"/", "/page.js", "/page.css", "/icon.svg"} {
		r := get(t, url+path)
		require.Equal(t, 200, r.StatusCode, path)
		require.Contains(t, r.Header.Get("Content-Security-Policy"), "default-src 'none'")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		require.NoError(t, err)
		req.Header.Set("If-None-Match", r.Header.Get("ETag"))
		again, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		again.Body.Close()
		require.Equal(t, http.StatusNotModified, again.StatusCode)
	}
	for path, want := range map[string]string{
		"/api/v1/config":            `{"settings":["x"],"state":"total"}`,
		"/api/v1/owners":            `[{"instance":"n","host":"","partitions":[3]}]`,
		"/api/v1/updates?session=s": `{"error":"no right for s"}`,
	} {
		r := get(t, url+path)
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.JSONEq(t, want, string(body), path)
	}
	require.Equal(t, 400, get(t, url+"/api/v1/updates").StatusCode)
}
