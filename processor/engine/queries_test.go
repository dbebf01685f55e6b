package engine_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// node is one process of the application with its HTTP server.
type node struct {
	w       *world
	queries *engine.Queries
	url     string
	stop    func()
}

// node starts the window as one process; dir keeps its identity.
func (w *world) node(dir string, change ...func(*engine.Config)) *node {
	w.t.Helper()
	n := &node{w: w, queries: &engine.Queries{}}
	server := httptest.NewServer(n.queries.Handler())
	w.t.Cleanup(server.Close)
	n.url = server.URL
	cfg := w.config(dir)
	cfg.Queries, cfg.Advertise, cfg.SessionTimeout = n.queries, server.Listener.Addr().String(), 6*time.Second
	for _, c := range change {
		c(&cfg)
	}
	n.stop = w.start(cfg)
	return n
}

// total is a session's committed sum.
func (n *node) total(id string) (sum int, ok bool, err error) {
	raw, ok, err := n.queries.Get(context.Background(), "total", []byte(id))
	if err != nil || !ok {
		return 0, ok, err
	}
	var v struct{ TotalSum int }
	return v.TotalSum, true, json.Unmarshal(raw, &v)
}

// eventually asks until there is an answer.
func (n *node) eventually(id string) (sum int, ok bool) {
	n.w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		sum, ok, err := n.total(id)
		var un *engine.UnavailableError
		if !errors.As(err, &un) {
			require.NoError(n.w.t, err)
			return sum, ok
		}
		require.Less(n.w.t, time.Now(), deadline, "%v", err)
		time.Sleep(5 * time.Millisecond)
	}
}

func (n *node) get(path string) (status int, body string, header http.Header) {
	n.w.t.Helper()
	resp, err := http.Get(n.url + path)
	require.NoError(n.w.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(n.w.t, err)
	return resp.StatusCode, strings.TrimSpace(string(raw)), resp.Header
}

// F59: any process answers for any key, the owner from its cache or its store, the others by asking it.
func TestAnyProcessAnswersForAnyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.node(t.TempDir())
	w.send(3000)
	w.updates()
	for id, balance := range w.balances {
		sum, ok := a.eventually(id)
		require.True(t, ok, id)
		require.Equal(t, balance, sum, id)
	}
	b := w.node(t.TempDir())
	w.send(3000)
	w.updates()
	awaitOwners(a)
	for i := range 200 {
		id := "s" + strconv.Itoa(i)
		for _, n := range []*node{a, b} {
			sum, ok := n.eventually(id)
			balance, open := w.balances[id]
			require.Equal(t, open, ok, id)
			require.Equal(t, balance, sum, id)
		}
	}
	a.stop()
	b.stop()
	_, _, err := a.total("s1")
	var un *engine.UnavailableError
	require.ErrorAs(t, err, &un)
}

// awaitOwners waits until two instances share the partitions.
func awaitOwners(n *node) {
	n.w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !strings.HasPrefix(owners(n), "2 ") {
		require.Less(n.w.t, time.Now(), deadline, owners(n))
		time.Sleep(20 * time.Millisecond)
	}
}

// owners tells how many instances answered a list of all.
func owners(n *node) string {
	_, body, _ := n.get("/api/v1/state/total?limit=1000")
	var list struct {
		Entries []struct{ Instance string }
	}
	_ = json.Unmarshal([]byte(body), &list)
	seen := map[string]bool{}
	for _, e := range list.Entries {
		seen[e.Instance] = true
	}
	return fmt.Sprint(len(seen), " instances: ", body[:min(300, len(body))])
}

// R1, F59: what the open transaction changed is not seen before its commit, and what a commit changed is seen after it.
func TestQueriesSeeCommittedValuesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var handled, ended, kept atomic.Int64
	app := processor.New("app")
	count := processor.NewState(app, "count", codec.Int64())
	processor.Handle(app, input, codec.Bytes(), func(c *processor.Context, _ []byte) error {
		n, _ := count.Get(c)
		count.Set(c, n+1)
		handled.Store(n + 1)
		time.Sleep(time.Millisecond)
		return nil
	})
	queries := &engine.Queries{}
	cfg := w.config(t.TempDir())
	cfg.CommitInterval, cfg.Queries, cfg.Workers = 500*time.Millisecond, queries, 1
	var at int64
	cfg = cfg.WithStep(func(s worker.Step) error {
		switch s {
		case worker.Prepared:
			at = handled.Load()
		case worker.Ended:
			ended.Store(at)
		case worker.Kept:
			kept.Store(at)
		}
		return nil
	})
	var rs []*kgo.Record
	const records = 1500
	for range records {
		rs = append(rs, &kgo.Record{Topic: input, Key: []byte("k"), Value: []byte("x")})
	}
	require.NoError(t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
	stop := w.runApp(app, cfg)
	open, last := 0, int64(0)
	for last < records {
		before := kept.Load()
		raw, ok, err := queries.Get(context.Background(), "count", []byte("k"))
		after, seen := ended.Load(), handled.Load()
		if errors.As(err, new(*engine.UnavailableError)) {
			continue
		}
		require.NoError(t, err)
		n := int64(0)
		if ok {
			n = int64(binary.BigEndian.Uint64(raw))
		}
		require.GreaterOrEqual(t, n, before, "older than a commit that had ended")
		require.LessOrEqual(t, n, after, "newer than the last commit")
		require.GreaterOrEqual(t, n, last)
		last = n
		if seen > n {
			open++
		}
	}
	require.Greater(t, open, 50, "no query met an open transaction")
	t.Logf("%d queries met an open transaction", open)
	stop()
}

// F59: over takeovers no answer is older than one before it, whoever is asked.
func TestNoAnswerIsOlderThanTheLastOverTakeovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fixed := w.node(t.TempDir())
	fixed.eventually("s0")
	ctx, cancel := context.WithCancel(context.Background())
	fed := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			var rs []*kgo.Record
			for i := range 8 {
				rs = append(rs, &kgo.Record{Topic: input, Key: fmt.Append(nil, "s", i), Value: fmt.Appendf(nil, `{"sessionId":"s%d","winAmount":1}`, i)})
			}
			if err := w.client.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
		fed <- n
	}()
	last := make([]int, 8)
	answered, refused := 0, 0
	ask := func(n *node) {
		i := (answered + refused) % 8
		sum, _, err := n.total("s" + strconv.Itoa(i))
		if err != nil {
			require.ErrorAs(t, err, new(*engine.UnavailableError))
			refused++
			return
		}
		require.GreaterOrEqual(t, sum, last[i], "session s%d", i)
		last[i] = sum
		answered++
	}
	for range 4 {
		other := w.node(t.TempDir())
		for target := answered + 300; answered < target; {
			ask(fixed)
			ask(other)
		}
		leaving := make(chan struct{})
		go func() { defer close(leaving); other.stop() }()
		for target := answered + 200; answered < target; {
			ask(fixed)
		}
		<-leaving
	}
	cancel()
	n := <-fed
	require.Eventually(t, func() bool { sum, _, err := fixed.total("s0"); return err == nil && sum == n }, 20*time.Second, 10*time.Millisecond)
	t.Logf("%d answered, %d told to come again", answered, refused)
	fixed.stop()
}

// F59: a partition that is being restored is 503 with a time to come again.
func TestARestoringPartitionSaysWhenToComeAgain(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	a := w.node(dir)
	w.wins(20, 1)
	w.updates()
	a.stop()
	// An open transaction on the changelog holds the restore (R5).
	holder, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.TransactionalID("holder"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer holder.Close()
	require.NoError(t, holder.BeginTransaction())
	for p := range int32(4) {
		require.NoError(t, holder.ProduceSync(context.Background(), &kgo.Record{Topic: "app-total-changelog", Partition: p, Key: []byte("s0"), Value: []byte("999")}).FirstErr())
	}
	a = w.node(dir)
	require.Eventually(t, func() bool {
		_, body, _ := a.get("/api/v1/state/total/s0")
		return strings.Contains(body, "being taken over")
	}, 20*time.Second, 10*time.Millisecond)
	for range 20 {
		status, body, header := a.get("/api/v1/state/total/s0")
		require.Equal(t, 503, status, body)
		require.Equal(t, "1", header.Get("Retry-After"))
		status, body, header = a.get("/api/v1/state/total?prefix=s")
		require.Equal(t, 503, status, body)
		require.Equal(t, "1", header.Get("Retry-After"))
	}
	require.NoError(t, holder.EndTransaction(context.Background(), kgo.TryAbort))
	sum, ok := a.eventually("s0")
	require.True(t, ok)
	require.Equal(t, 1, sum)
	a.stop()
}

// F59: a process that the coordinator does not know, or has replaced, answers nothing, although it has the state and does
// not know yet.
func TestAProcessThatIsNoMemberAnswersNothing(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.UnknownMemberID, kerr.FencedInstanceID} {
		t.Run(code.Message, func(t *testing.T) {
			w := newWorld(t)
			a := w.node(t.TempDir(), func(c *engine.Config) { c.SessionTimeout = 60 * time.Second }) // its own heartbeats are 6 s apart
			w.wins(20, 1)
			w.updates()
			sum, _ := a.eventually("s0")
			require.Equal(t, 1, sum)
			var asked atomic.Int64
			w.cluster.ControlKey(12, func(req kmsg.Request) (kmsg.Response, error, bool) {
				w.cluster.KeepControl()
				if asked.Add(1) > 5 {
					return nil, nil, false
				}
				resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
				resp.ErrorCode = code.Code
				return resp, nil, true
			})
			for asked.Load() < 5 {
				_, _, err := a.total("s0")
				require.ErrorAs(t, err, new(*engine.UnavailableError))
			}
			sum, _ = a.eventually("s0")
			require.Equal(t, 1, sum)
			a.stop()
		})
	}
}

// Lists are in the order of the keys over all partitions and processes, with what the store lacks and without what is
// removed; pages join without a gap.
func TestListsJoinCacheStoreAndProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	a := w.node(dir)
	w.send(2000)
	w.updates()
	a.stop() // its state goes to the store
	a = w.node(dir)
	b := w.node(t.TempDir())
	awaitOwners(a)
	w.send(1000) // changed and removed in the cache
	w.updates()
	var want []string
	for id, balance := range w.balances {
		if strings.HasPrefix(id, "s1") {
			want = append(want, fmt.Sprintf(`%s {"totalSum":%d}`, id, balance))
		}
	}
	slices.SortFunc(want, func(a, b string) int { return strings.Compare(strings.Fields(a)[0], strings.Fields(b)[0]) })
	for _, n := range []*node{a, b} {
		for _, limit := range []int{1, 7, 1000} {
			require.Eventually(t, func() bool {
				var got []string
				r := engine.Range{Prefix: []byte("s1"), Limit: limit}
				for {
					values, more, err := n.queries.List(context.Background(), "total", r)
					if err != nil {
						require.ErrorAs(t, err, new(*engine.UnavailableError))
						return false
					}
					for _, v := range values {
						got = append(got, fmt.Sprintf("%s %s", v.Key, v.Value))
					}
					if !more {
						require.Equal(t, want, got, "limit %d", limit)
						return true
					}
					require.Len(t, values, limit)
					r.After = values[limit-1].Key
				}
			}, 10*time.Second, 10*time.Millisecond)
		}
	}
	a.stop()
	b.stop()
}

func TestQueriesOverHTTP(t *testing.T) {
	w := newWorld(t)
	guarded := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer secret" && r.Header.Get("Penstock-Forwarded-By") != "" {
				http.Error(rw, "no", http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(rw, r)
		})
	}
	var nodes []*node
	for _, token := range []string{"secret", "secret", "wrong"} {
		n := &node{w: w, queries: &engine.Queries{Token: token}}
		server := httptest.NewServer(guarded(n.queries.Handler()))
		t.Cleanup(server.Close)
		n.url = server.URL
		status, _, header := n.get("/api/v1/state/total/x")
		require.Equal(t, 503, status, "before the engine runs")
		require.Equal(t, "1", header.Get("Retry-After"))
		cfg := w.config(t.TempDir())
		cfg.Queries, cfg.Advertise = n.queries, server.URL
		n.stop = w.start(cfg)
		nodes = append(nodes, n)
	}
	keys := []string{"a", "a/b", "..", "ü ?&", "a b+c", "%2F", "\"quoted\""}
	var rs []*kgo.Record
	for _, key := range keys {
		v, err := session.TransactionJSON().Append(nil, session.Transaction{SessionID: key})
		require.NoError(t, err)
		rs = append(rs, &kgo.Record{Topic: input, Key: []byte(key), Value: v})
		w.sent++
	}
	require.NoError(t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
	w.updates()
	instances := map[string]bool{}
	for _, n := range nodes[:2] {
		for _, key := range keys {
			escaped := strings.ReplaceAll(url.PathEscape(key), ".", "%2E")
			for _, path := range []string{"/" + escaped, "?key=" + url.QueryEscape(key), "?keyBase64=" + url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(key)))} {
				var body string
				require.Eventually(t, func() bool {
					var status int
					status, body, _ = n.get("/api/v1/state/total" + path)
					return status == 200
				}, 20*time.Second, 10*time.Millisecond, path)
				var got struct {
					Instance, Key string
					Found         bool
					Value         json.RawMessage
				}
				require.NoError(t, json.Unmarshal([]byte(body), &got), body)
				require.Equal(t, key, got.Key)
				require.True(t, got.Found)
				require.JSONEq(t, `{"totalSum":0}`, string(got.Value))
				instances[got.Instance] = true
			}
		}
	}
	require.Greater(t, len(instances), 1, "nothing was forwarded")

	n := nodes[0]
	for path, want := range map[string]int{
		"/total/unknown": 404, "/nostate/x": 404, "/timer:idle/x": 404, "/total/": 400, "/total?keyBase64=!": 400, "/total?key=": 400,
		"/total?limit=0": 400, "/total?limit=1001": 400, "/total?limit=x": 400, "/total?prefix=a&limit=1000": 200,
	} {
		var status int
		var body string
		require.Eventually(t, func() bool { status, body, _ = n.get("/api/v1/state" + path); return status != 503 }, 10*time.Second, 10*time.Millisecond)
		require.Equal(t, want, status, "%s: %s", path, body)
	}
	_, body, _ := n.get("/api/v1/state/total/unknown")
	require.Contains(t, body, `"found":false`)
	_, body, _ = n.get("/api/v1/state/total?key=" + url.QueryEscape("\xff"))
	require.Contains(t, body, `"keyBase64":"/w=="`)
	_, body, _ = n.get("/api/v1/state/nostate/x")
	require.Contains(t, body, `"error"`)
	_, body, _ = nodes[2].get("/api/v1/state/total?limit=10")
	require.Contains(t, body, "does not take this instance's bearer token")
	for _, n := range nodes {
		n.stop()
	}
}

func TestAdvertiseIsChecked(t *testing.T) {
	for address, ok := range map[string]bool{
		"": true, "node-1:8080": true, "[::1]:80": true, "https://x:8443": true, "http://x/base": true,
		":8080": false, "0.0.0.0:80": false, "[::]:80": false, "node-1": false, "node-1:0": false, "ftp://x": false, "http://": false,
	} {
		err := engine.Config{Brokers: []string{"x:1"}, Advertise: address}.Validate()
		require.Equal(t, ok, err == nil, "%q: %v", address, err)
	}
}
