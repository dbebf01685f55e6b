package engine_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
)

// quota is a disk with so many bytes left to write. What does not fit is written as far as it does.
type quota struct {
	vfs.FS
	left  atomic.Int64
	tells bool // how much is left, where it is asked
	// manifest says that nothing of a manifest fits.
	manifest atomic.Bool
}

func (q *quota) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if !q.tells {
		return q.FS.GetDiskUsage(path)
	}
	return vfs.DiskUsage{AvailBytes: uint64(max(0, q.left.Load())), TotalBytes: 1 << 40}, nil
}

func (q *quota) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if q.left.Load() <= 0 {
		return nil, syscall.ENOSPC
	}
	f, err := q.FS.Create(name, c)
	return &quotaFile{f, q, strings.Contains(name, "MANIFEST")}, err
}

func (q *quota) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := q.FS.ReuseForWrite(from, to, c)
	return &quotaFile{f, q, false}, err
}

type quotaFile struct {
	vfs.File
	q        *quota
	manifest bool
}

func (f *quotaFile) Write(p []byte) (int, error) {
	if f.manifest && f.q.manifest.Load() {
		return 0, syscall.ENOSPC
	}
	left := f.q.left.Add(-int64(len(p)))
	if left >= 0 {
		return f.File.Write(p)
	}
	fits := max(0, len(p)+int(left))
	n, err := f.File.Write(p[:fits])
	if err == nil {
		err = syscall.ENOSPC
	}
	return n, err
}

const plenty = 1 << 40

// onQuota is an engine's configuration with its store on q, written all the time.
func (w *world) onQuota(q *quota, log *logged) engine.Config {
	cfg := w.config(w.t.TempDir())
	cfg.CommitInterval = 20 * time.Millisecond
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	return cfg.WithSmallSteps(20*time.Millisecond, 0).WithStore(func(_ string, o pebblestore.Options) (*pebblestore.Store, error) {
		o.FS = q
		return pebblestore.Open("store", o)
	})
}

// R8: the disk fills up at whichever byte, under load: processing stops and says so; with room again the same process goes
// on, and all is exact.
func TestAFullDiskIsWaitedFor(t *testing.T) {
	for _, tells := range []bool{true, false} {
		for _, left := range []int64{0, 100, 1000, 3000, 10_000, 30_000} {
			t.Run(fmt.Sprintf("%d bytes left, told %t", left, tells), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				q := &quota{FS: vfs.NewMem(), tells: tells}
				q.left.Store(plenty)
				var log logged
				stop := w.start(w.onQuota(q, &log))
				w.send(2000)
				w.updates()
				q.left.Store(left)
				feed := w.feed(20, 5*time.Millisecond)
				require.Eventually(t, func() bool { return strings.Contains(log.String(), "until there is room") }, 20*time.Second, time.Millisecond, "it is not said: %s", &log)
				require.Eventually(t, func() bool {
					before := w.written()
					time.Sleep(300 * time.Millisecond)
					return w.written() == before
				}, 20*time.Second, time.Millisecond, "processing goes on over a full disk")
				q.left.Store(plenty)
				feed()
				require.Equal(t, w.want, w.updates(), "%s", &log)
				stop()
				w.send(100)
				stop = w.start(w.onQuota(q, &log))
				require.Equal(t, w.want, w.updates(), "%s", &log)
				stop()
				require.NotContains(t, log.String(), "damaged")
				t.Logf("the store was opened again %d times", strings.Count(log.String(), "opened again"))
			})
		}
	}
}

// R8: where the disk fills up under the store's manifest, the store is closed and opened again, as often as it takes, in
// the same process.
func TestAFullDiskUnderTheManifest(t *testing.T) {
	w := newWorld(t)
	q := &quota{FS: vfs.NewMem()}
	q.left.Store(plenty)
	var log logged
	stop := w.start(w.onQuota(q, &log))
	w.send(2000)
	w.updates()
	feed := w.feed(20, 5*time.Millisecond)
	for n := range 2 {
		q.manifest.Store(true)
		require.Eventually(t, func() bool { return strings.Count(log.String(), "opened again") > n }, 20*time.Second, time.Millisecond, "%s", &log)
		time.Sleep(200 * time.Millisecond)
		q.manifest.Store(false)
		sent := w.written()
		require.Eventually(t, func() bool { return w.written() > sent+100 }, 20*time.Second, 10*time.Millisecond, "it does not go on: %s", &log)
	}
	feed()
	require.Equal(t, w.want, w.updates(), "%s", &log)
	stop()
	require.NotContains(t, log.String(), "damaged")
}

// R8: a start on a full disk waits for room, too.
func TestAStartOnAFullDiskWaits(t *testing.T) {
	for _, before := range []string{"empty", "used"} {
		t.Run(before, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			q := &quota{FS: vfs.NewMem()}
			q.left.Store(plenty)
			var log logged
			if before == "used" {
				stop := w.start(w.onQuota(q, &log))
				w.send(2000)
				w.updates()
				stop()
			}
			q.left.Store(0)
			w.send(500)
			stop := w.start(w.onQuota(q, &log))
			require.Eventually(t, func() bool { return strings.Contains(log.String(), "until there is room") }, 20*time.Second, time.Millisecond, "it is not said: %s", &log)
			stop() // it does not hold up a stop
			stop = w.start(w.onQuota(q, &log))
			time.Sleep(time.Second)
			require.NoError(t, w.err())
			q.left.Store(plenty)
			require.Equal(t, w.want, w.updates(), "%s", &log)
			stop()
		})
	}
}

// R8: a full disk does not hold up a stop.
func TestAStopOnAFullDiskIsInTime(t *testing.T) {
	w := newWorld(t)
	q := &quota{FS: vfs.NewMem()}
	q.left.Store(plenty)
	var log logged
	stop := w.start(w.onQuota(q, &log))
	w.send(2000)
	w.updates()
	q.left.Store(0)
	feed := w.feed(20, 5*time.Millisecond)
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "until there is room") }, 20*time.Second, time.Millisecond)
	feed()
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), stopLimit)
	q.left.Store(plenty)
	stop = w.start(w.onQuota(q, &log))
	require.Equal(t, w.want, w.updates())
	stop()
}

// written is the end of the output: how much was committed, markers included.
func (w *world) written() int64 {
	w.t.Helper()
	ends, err := kadm.NewClient(w.client).ListCommittedOffsets(w.t.Context(), output)
	require.NoError(w.t, err)
	var n int64
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}
