package engine_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/stretchr/testify/require"
)

// firstFormat is a store as the first format has it: 20 sessions, each with a timer. It is never made anew; a later format
// gets a directory of its own beside it. PENSTOCK_TEST_WRITE_FIXTURE=1 made it.
const firstFormat = "testdata/store-format-1"

// An upgrade reads the state of the first format: sums, deadlines and the positions that they belong to.
func TestTheFirstFormatIsRead(t *testing.T) {
	if os.Getenv("PENSTOCK_TEST_WRITE_FIXTURE") != "" {
		writeFixture(t)
	}
	dir := filepath.Join(t.TempDir(), "store")
	require.NoError(t, os.CopyFS(dir, os.DirFS(firstFormat)))
	store, err := pebblestore.Open(dir, pebblestore.Options{MemoryBytes: 16 << 20})
	require.NoError(t, err)
	defer store.Close()
	topo, err := idleWindow(time.Hour).Topology()
	require.NoError(t, err)

	sums, records := map[string]string{}, int64(0)
	for p := range int32(4) {
		at, ok, err := task.ReadPosition(store, p)
		require.NoError(t, err)
		require.True(t, ok, "partition %d has no position", p)
		require.Equal(t, 1, at.Identity.Format)
		require.Equal(t, "app", at.Identity.App)
		require.Equal(t, []string{"total", "timer:idle"}, at.Identity.States)
		require.Len(t, at.Changelogs, 2)
		require.InDelta(t, time.Now().UnixMilli(), at.Time, float64(100*365*24*time.Hour.Milliseconds()))
		records += at.Inputs[0]
		lower := task.StatePrefix(p, "total")
		upper := append(bytes.Clone(lower[:len(lower)-1]), 1)
		require.NoError(t, store.Scan(lower, upper, func(key, value []byte) error {
			v, err := session.SessionTrackingValueJSON().Decode(value)
			require.NoError(t, err)
			sums[string(key[len(lower):])] = v.TotalSum.String()
			return nil
		}))
		timers, err := task.ReadTimers(store, topo, p)
		require.NoError(t, err)
		waiting := task.New(task.Config{Topology: topo, Partition: p, Store: store, Arena: &task.Arena{}, Timers: timers}, at).TimersWaiting()
		n := 0
		require.NoError(t, store.Scan(lower, upper, func(_, _ []byte) error { n++; return nil }))
		require.Equal(t, n, waiting, "each open session of partition %d has a timer", p)
	}
	want := map[string]string{}
	for i := range 20 {
		want[fmt.Sprintf("s%d", i)] = "3"
		if i < 5 {
			want[fmt.Sprintf("s%d", i)] = "4"
		}
	}
	require.Equal(t, want, sums)
	require.EqualValues(t, 20*3+5, records)
}

func writeFixture(t *testing.T) {
	t.Helper()
	w := newWorld(t)
	w.wins(20, 3)
	w.wins(5, 1)
	dir := t.TempDir()
	stop := w.runApp(idleWindow(time.Hour), w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
	require.NoError(t, os.RemoveAll(firstFormat))
	require.NoError(t, os.CopyFS(firstFormat, os.DirFS(filepath.Join(dir, "store"))))
	require.NoError(t, os.Remove(filepath.Join(firstFormat, "LOCK")))
}

// R8, after a downgrade: a store of a version that is not known is set aside and rebuilt from the changelog.
func TestAStoreOfANewerVersionIsRebuilt(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.send(1000)
	stop := w.start(w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
	markers, err := filepath.Glob(filepath.Join(dir, "store", "marker.format-version.*"))
	require.NoError(t, err)
	require.Len(t, markers, 1)
	require.NoError(t, os.Rename(markers[0], filepath.Join(dir, "store", "marker.format-version.999999.999")))
	w.send(1000)
	stop = w.start(w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
	aside, err := filepath.Glob(filepath.Join(dir, "store.bad-*"))
	require.NoError(t, err)
	require.NotEmpty(t, aside, "the newer store is kept for its own version")
}
