package integration

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// tableProcess is the variable that makes the test's program a process of an application with a table.
const tableProcess = "PENSTOCK_TEST_TABLE_PROCESS"

const (
	prices = "table-prices"
	orders = "table-orders"
	priced = "table-priced"
)

// runTable puts the price of what is ordered, and the number of the customer's order, to each order, until SIGTERM.
func runTable(broker string) int {
	app := processor.New("table")
	price := processor.NewTable(app, prices, codec.Text())
	count := processor.NewState(app, "count", codec.Int64())
	out := processor.NewOutput(app, priced, codec.Text())
	processor.Handle(app, orders, codec.Text(), func(c *processor.Context, article string) error {
		n, _ := count.Get(c)
		count.Set(c, n+1)
		p, ok := price.Get(c, article)
		out.Emit(c, fmt.Sprintf("%d %s %s %v", n+1, article, p, ok))
		return nil
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := engine.Run(ctx, app, engine.Config{Brokers: []string{broker}, StateDir: os.Getenv(tableProcess + "_DIR"), Instance: "only",
		Workers: 2, SessionTimeout: 6 * time.Second, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func startTable(t *testing.T, b *kafkatest.Broker, dir string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), tableProcess+"="+b.Addr(), tableProcess+"_DIR="+dir)
	return startCommand(t, cmd)
}

var loadedRecords = regexp.MustCompile(`table is complete.* records=(\d+)`)

// loaded waits for the nth time that the process has read its table, and returns how many records that took.
func (p *process) loaded(nth int) int {
	p.t.Helper()
	var found [][]string
	require.Eventually(p.t, func() bool {
		found = loadedRecords.FindAllStringSubmatch(p.log.tail(1<<20), -1)
		return len(found) >= nth
	}, time.Minute, 20*time.Millisecond, "%s", p.log.tail(4000))
	n, err := strconv.Atoi(found[nth-1][1])
	require.NoError(p.t, err)
	return n
}

// R6, R8: a process with a table is killed while it loads and after: each order is priced once, by a table that is whole, and
// a start with the state kept reads the tail alone. A topic that is recreated is read anew while the process runs.
func TestAProcessWithATableIsKilled(t *testing.T) {
	b := kafkatest.Start(t)
	const rows = 60_000
	b.CreateTopic(t, prices, 3, map[string]string{"cleanup.policy": "compact"})
	b.CreateTopic(t, orders, 4, nil)
	b.CreateTopic(t, priced, 4, nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	put := func(from, to int, price string) {
		t.Helper()
		for i := from; i < to; i++ {
			cl.Produce(t.Context(), &kgo.Record{Topic: prices, Key: strconv.AppendInt(nil, int64(i), 10), Value: []byte(price + strconv.Itoa(i))}, nil)
		}
		require.NoError(t, cl.Flush(t.Context()))
	}
	sent := 0
	want := map[string][]string{}
	order := func(customers, step int, price string) {
		t.Helper()
		for i := range customers {
			who, article := fmt.Sprintf("c%d", i), strconv.Itoa(i*step)
			want[who] = append(want[who], fmt.Sprintf("%d %s %s%s true", len(want[who])+1, article, price, article))
			cl.Produce(t.Context(), &kgo.Record{Topic: orders, Key: []byte(who), Value: []byte(article)}, nil)
			sent++
		}
		require.NoError(t, cl.Flush(t.Context()))
	}
	exact := func() {
		t.Helper()
		require.Equal(t, want, committed(t, b, priced, sent))
	}
	dir := t.TempDir()
	put(0, rows, "a")
	order(1000, rows/1000, "a")
	for i := range 3 {
		p := startTable(t, b, dir)
		time.Sleep(time.Duration(100+150*i) * time.Millisecond) // in mid-load, or before
		p.kill()
	}
	p := startTable(t, b, dir)
	p.loaded(1)
	exact()

	p.kill()
	put(0, 500, "b")
	order(400, 1, "b")
	p = startTable(t, b, dir)
	require.Equal(t, 500, p.loaded(1), "the tail alone is read")
	exact()

	_, err = b.Admin(t).DeleteTopics(t.Context(), prices)
	require.NoError(t, err)
	b.CreateTopic(t, prices, 2, map[string]string{"cleanup.policy": "compact"})
	cl.PurgeTopicsFromClient(prices)
	put(0, 1000, "c")
	p.loaded(2)
	require.Eventually(t, func() bool { // what was written while the empty topic was read follows
		who, at := fmt.Sprintf("probe%d", sent), len(want)
		want[who] = []string{"1 999 c999 true"}
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: orders, Key: []byte(who), Value: []byte("999")}).FirstErr())
		sent++
		got := committed(t, b, priced, sent)[who]
		want[who] = got
		return at > 0 && len(got) == 1 && got[0] == "1 999 c999 true"
	}, 30*time.Second, 100*time.Millisecond)
	order(1000, 1, "c")
	exact()
	p.stop()
	require.Contains(t, p.log.tail(1<<20), "local state is wiped")
	require.Zero(t, strings.Count(p.log.tail(1<<20), "level=ERROR"))
}

// committed reads n records of a topic, and what lies beyond, by key.
func committed(t *testing.T, b *kafkatest.Broker, topic string, n int) map[string][]string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, read := map[string][]string{}, 0
	take := func(r *kgo.Record) {
		got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
		read++
	}
	for read < n && ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(take)
	}
	require.NoError(t, ctx.Err(), "%d records of %d", read, n)
	rest, cancelRest := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancelRest()
	cl.PollFetches(rest).EachRecord(take)
	return got
}
