package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const tableTopic = "names"

// named puts the row of each record's value beside it.
func named() *processor.App {
	app := processor.New("app")
	names := processor.NewTable(app, tableTopic, codec.Text())
	count := processor.NewState(app, "count", codec.Int64())
	out := processor.NewOutput(app, output, codec.Text())
	processor.Handle(app, input, codec.Text(), func(c *processor.Context, who string) error {
		n, _ := count.Get(c)
		count.Set(c, n+1)
		name, ok := names.Get(c, who)
		out.Emit(c, fmt.Sprintf("%d %s %s %v", n+1, who, name, ok))
		return nil
	})
	return app
}

// tabled is a world with a table of three partitions.
type tabled struct {
	*world
	rows map[string]string
}

func newTabled(t *testing.T) *tabled {
	t.Helper()
	w := &tabled{newWorld(t), map[string]string{}}
	require.NoError(t, w.cluster.CreateTopic(tableTopic, 3, map[string]string{"cleanup.policy": "compact"}))
	return w
}

// put writes rows; an empty value deletes.
func (w *tabled) put(rows map[string]string) {
	w.t.Helper()
	var rs []*kgo.Record
	for k, v := range rows {
		r := &kgo.Record{Topic: tableTopic, Key: []byte(k)}
		if w.rows[k] = v; v == "" {
			delete(w.rows, k)
		} else {
			r.Value = []byte(v)
		}
		rs = append(rs, r)
	}
	require.NoError(w.t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
}

// fill writes n rows, all of a name, and deletes every tenth.
func (w *tabled) fill(n int, name string) {
	w.t.Helper()
	rows, gone := map[string]string{}, map[string]string{}
	for i := range n {
		rows[strconv.Itoa(i)] = name + strconv.Itoa(i)
		if i%10 == 0 {
			gone[strconv.Itoa(i)] = ""
		}
	}
	w.put(rows)
	w.put(gone)
}

// ask sends records that look for n rows, and expects what the table holds now.
func (w *tabled) ask(n int) {
	w.t.Helper()
	var rs []*kgo.Record
	for i := range n {
		who := strconv.Itoa(i)
		name, ok := w.rows[who]
		key := "k" + who
		w.want[key] = append(w.want[key], fmt.Sprintf("%d %s %s %v", len(w.want[key])+1, who, name, ok))
		rs = append(rs, &kgo.Record{Topic: input, Key: []byte(key), Value: []byte(who)})
	}
	require.NoError(w.t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
	w.sent += n
}

// recreate deletes the table's topic and makes it again, empty.
func (w *tabled) recreate(partitions int) {
	w.t.Helper()
	require.NoError(w.t, w.cluster.DeleteTopic(tableTopic))
	require.NoError(w.t, w.cluster.CreateTopic(tableTopic, int32(partitions), map[string]string{"cleanup.policy": "compact"}))
	w.client.PurgeTopicsFromClient(tableTopic)
	w.rows = map[string]string{}
}

// complete waits until a log says so for the nth time, and returns how many records the last load read.
func complete(t *testing.T, log *logged, nth int) int {
	t.Helper()
	const says = "table is complete"
	require.Eventually(t, func() bool { return strings.Count(log.String(), says) >= nth }, 30*time.Second, 5*time.Millisecond, "%s", log)
	text := log.String()
	_, rest, ok := strings.Cut(text[strings.LastIndex(text, says):], "records=")
	require.True(t, ok)
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return n
}

// logged is a configuration whose log is kept.
func (w *tabled) logged(dir string) (engine.Config, *logged) {
	log := &logged{}
	cfg := w.config(dir)
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	return cfg, log
}

// A table is complete before the first record is handled, whatever partition a row lies on, and a restart reads what it lacks.
func TestATableIsCompleteBeforeTheFirstRecord(t *testing.T) {
	w := newTabled(t)
	w.fill(3000, "a")
	manual, err := kgo.NewClient(kgo.SeedBrokers(w.cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer manual.Close()
	for i := range 300 { // as another partitioner would
		k := strconv.Itoa(3000 + i)
		w.rows[k] = "other" + k
		manual.Produce(t.Context(), &kgo.Record{Topic: tableTopic, Partition: int32(i % 3), Key: []byte(k), Value: []byte("other" + k)}, nil)
	}
	manual.Produce(t.Context(), &kgo.Record{Topic: tableTopic, Value: []byte("no key")}, nil)
	require.NoError(t, manual.Flush(t.Context()))
	w.ask(3400)
	dir := t.TempDir()
	cfg, log := w.logged(dir)
	stop := w.runApp(named(), cfg)
	require.Equal(t, w.want, w.updates())
	require.Equal(t, 3000+300+300+1, complete(t, log, 1))
	require.Contains(t, log.String(), "records without a key")
	stop()

	w.put(map[string]string{"1": "z", "2": ""})
	w.ask(3400)
	cfg, log = w.logged(dir)
	stop = w.runApp(named(), cfg)
	require.Equal(t, w.want, w.updates())
	require.Equal(t, 2, complete(t, log, 1), "the tail alone is read")
	stop()
}

// await asks again and again until a row answers as it should, and does not count what came of it.
func (w *tabled) await(who string) {
	w.t.Helper()
	name, ok := w.rows[who]
	want := fmt.Sprintf("%s %s %v", who, name, ok)
	key := "probe-" + who
	require.Eventually(w.t, func() bool {
		require.NoError(w.t, w.client.ProduceSync(w.t.Context(), &kgo.Record{Topic: input, Key: []byte(key), Value: []byte(who)}).FirstErr())
		w.sent++
		got := w.updates()[key]
		return len(got) > 0 && strings.HasSuffix(got[len(got)-1], want)
	}, 30*time.Second, 20*time.Millisecond, "%s is never seen", want)
}

func (w *tabled) exact() {
	w.t.Helper()
	got := w.updates()
	for key := range got {
		if strings.HasPrefix(key, "probe-") {
			delete(got, key)
		}
	}
	require.Equal(w.t, w.want, got)
}

// A table follows its topic, committed records only.
func TestATableFollowsItsTopic(t *testing.T) {
	w := newTabled(t)
	w.fill(100, "a")
	cfg, log := w.logged(t.TempDir())
	stop := w.runApp(named(), cfg)
	w.ask(100)
	w.exact()
	foreign := w.foreign(tableTopic)
	require.NoError(t, foreign.EndTransaction(t.Context(), kgo.TryAbort))
	w.put(map[string]string{"1": "b", "2": "", "new": "c"})
	for _, who := range []string{"1", "2", "new", "s1"} {
		w.await(who)
	}
	w.ask(100)
	w.exact()
	stop()
	require.NotContains(t, log.String(), "starts over")
}

// A topic that is recreated or cut, while running or between two runs, is read anew: nothing of the old one is left, and no
// record sees half of it.
func TestATableOfATopicThatWasRecreatedIsReadAnew(t *testing.T) {
	for name, change := range map[string]func(w *tabled){
		"recreated":           func(w *tabled) { w.recreate(3); w.fill(150, "b") },
		"recreated, shorter":  func(w *tabled) { w.recreate(3); w.put(map[string]string{"1": "b", "3": "c"}) },
		"recreated, longer":   func(w *tabled) { w.recreate(3); w.fill(500, "b") },
		"recreated, empty":    func(w *tabled) { w.recreate(3) },
		"recreated, narrower": func(w *tabled) { w.recreate(2); w.fill(150, "b") },
	} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, running=%v", name, running), func(t *testing.T) {
				t.Parallel()
				w := newTabled(t)
				w.fill(200, "a")
				dir := t.TempDir()
				cfg, log := w.logged(dir)
				stop := w.runApp(named(), cfg)
				w.ask(200)
				w.exact()
				if !running {
					stop()
					cfg, log = w.logged(dir)
				}
				change(w)
				if !running {
					stop = w.runApp(named(), cfg)
				} else {
					complete(t, log, 2)
				}
				w.await("1")
				w.await("199")
				w.ask(500)
				w.exact()
				stop()
				require.Contains(t, log.String(), "local state is wiped")
			})
		}
	}
}

// Records that were deleted before they were read leave the copy unlike the topic: it is read anew.
func TestATableThatMissedRecordsIsReadAnew(t *testing.T) {
	w := newTabled(t)
	w.fill(200, "a")
	dir := t.TempDir()
	cfg, _ := w.logged(dir)
	stop := w.runApp(named(), cfg)
	w.ask(200)
	w.exact()
	stop()
	w.fill(200, "b")
	listed, err := kadm.NewClient(w.client).ListEndOffsets(t.Context(), tableTopic)
	require.NoError(t, err)
	listed.Each(func(o kadm.ListedOffset) {
		require.NoError(t, w.cluster.DeleteRecords(tableTopic, o.Partition, o.Offset))
	})
	w.rows = map[string]string{}
	cfg, log := w.logged(dir)
	w.ask(200)
	stop = w.runApp(named(), cfg)
	w.exact()
	stop()
	require.Contains(t, log.String(), "local state is wiped")
}

// R8: the copy is a cache: damaged, it is deleted and read again, and the state is left alone.
func TestATablesFilesMayBeDamaged(t *testing.T) {
	w := newTabled(t)
	w.fill(500, "a")
	dir := t.TempDir()
	cfg, _ := w.logged(dir)
	w.ask(500)
	stop := w.runApp(named(), cfg)
	w.exact()
	stop()
	damaged := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "tables"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) == 0 {
			return err
		}
		damaged++
		return os.WriteFile(path, bytes.Repeat([]byte("x"), len(raw)), 0o600)
	}))
	require.Positive(t, damaged)
	cfg, log := w.logged(dir)
	w.ask(500)
	stop = w.runApp(named(), cfg)
	w.exact()
	stop()
	require.Contains(t, log.String(), "it is deleted and read again")
	require.NotContains(t, log.String(), "set aside")
}

// A copy beyond its limit on disk ends the process with both values, before the state has no room.
func TestATableHasALimitOnDisk(t *testing.T) {
	w := newTabled(t)
	w.fill(2000, strings.Repeat("a", 200))
	cfg, _ := w.logged(t.TempDir())
	cfg.TableDiskBytes = 1000
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := engine.Run(ctx, named(), cfg)
	for _, says := range []string{tableTopic, "limit of 1000", "TableDiskBytes"} {
		require.ErrorContains(t, err, says)
	}
}

// A table that the application has no more leaves nothing behind.
func TestATableIsDroppedWithItsFiles(t *testing.T) {
	w := newTabled(t)
	w.fill(10, "a")
	dir := t.TempDir()
	w.ask(10)
	stop := w.runApp(named(), w.config(dir))
	w.exact()
	stop()
	require.DirExists(t, filepath.Join(dir, "tables", tableTopic))
	plain := processor.New("app")
	count := processor.NewState(plain, "count", codec.Int64())
	processor.Handle(plain, input, codec.Text(), func(c *processor.Context, _ string) error { count.Set(c, 0); return nil })
	opened := make(chan struct{}, 16)
	cfg := w.config(dir)
	cfg.Ready = func(int32) { opened <- struct{}{} }
	stop = w.runApp(plain, cfg)
	<-opened
	stop()
	require.NoDirExists(t, filepath.Join(dir, "tables", tableTopic))
}

// Section 6: a stop while a table loads, and never would end, is in time; no record was handled.
func TestStopsWhileATableLoads(t *testing.T) {
	w := newTabled(t)
	w.fill(100, "a")
	w.ask(100)
	reads := make(chan struct{}, 1)
	cfg, log := w.logged(t.TempDir())
	cfg = cfg.WithStep(func(s worker.Step) error {
		if s == worker.Polled {
			t.Error("a record is handled before the table is complete")
		}
		if s != worker.ReadBack {
			return nil
		}
		select {
		case reads <- struct{}{}:
		default:
		}
		return errDead
	})
	stop := w.runApp(named(), cfg)
	<-reads
	<-reads
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), 10*time.Second)
	require.NotContains(t, log.String(), "table is complete")
}

// R3, R6: a process is killed at the nth read of its table, write of the store or commit; the next ones, on what is left of
// its disk, are exact.
func TestKilledWhileATableLoadsAndAfter(t *testing.T) {
	w := newTabled(t)
	w.fill(2000, "a")
	rng := rand.New(rand.NewPCG(3, 4))
	cfg := w.lifeConfig()
	var disk *vfs.MemFS
	crashes := 0
	for _, at := range []point{{"step read-back", 1}, {"step read-back", 5}, {"step read-back", 40}, {"disk write", 10}, {"disk sync", 5},
		{"disk write", 200}, {"step kept", 2}, {"step stepped", 100}, {"after EndTxn", 3}} {
		w.put(map[string]string{"1": at.kind, "2": fmt.Sprint(at.nth)})
		w.ask(300)
		l := w.begin(named(), cfg, "a", disk, at, rng)
		select {
		case <-l.crashed:
			crashes++
		case <-l.ended:
			require.NoError(t, l.err)
		case <-l.lived:
		case <-time.After(5 * time.Second): // it does not happen that often
		}
		disk, _ = l.stop()
		l.sound()
	}
	require.Greater(t, crashes, 3) // of 9; which of them come in time depends on the machine
	l := w.begin(named(), cfg, "a", disk, point{}, rng)
	w.ask(300)
	got := w.updates()
	_, crashed := l.stop()
	require.False(t, crashed)
	for key, want := range w.want {
		require.Len(t, got[key], len(want), "%s", key)
		if key != "k1" && key != "k2" { // their rows change
			require.Equal(t, want, got[key])
		}
	}
}
