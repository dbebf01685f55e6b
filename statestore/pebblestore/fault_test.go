package pebblestore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	pebblestore.SetRetryPause(5 * time.Millisecond)
	goleak.VerifyTestMain(m)
}

// bad is a disk whose writes fail from the nth on, until it is mended.
type bad struct {
	err    error
	writes atomic.Int64 // left until it fails
	once   bool
}

func (b *bad) String() string { return "bad disk" }

func (b *bad) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose || op.Kind == errorfs.OpLock {
		return nil
	}
	left := b.writes.Add(-1)
	if left > 0 || b.once && left < 0 {
		return nil
	}
	return b.err
}

func set(t *testing.T, s *pebblestore.Store, i int) error {
	t.Helper()
	var b statestore.Batch
	b.Set(key(i), fmt.Append(nil, i))
	return s.Apply(&b)
}

// soon fails where a call does not answer: a full disk must not block.
func soon(t *testing.T, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s does not return", what)
		return nil
	}
}

// R8: whichever write fails, once or for ever, for want of space or for another cause: no call blocks, nothing ends the
// process, and the disk then holds a prefix of what was applied, with all that was flushed.
func TestWhicheverWriteFails(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		for _, once := range []bool{true, false} {
			t.Run(fmt.Sprintf("%v, once %t", cause, once), func(t *testing.T) {
				t.Parallel()
				for n := int64(1); ; n++ {
					disk := &bad{err: cause, once: once}
					disk.writes.Store(n)
					if !failAt(t, disk) {
						require.Greater(t, n, int64(20), "writes in all")
						return
					}
				}
			})
		}
	}
}

const steps = 4

// failAt runs a store on a disk that will fail, and reports whether it did.
func failAt(t *testing.T, disk *bad) bool {
	mem := vfs.NewMem()
	applied, flushed := 0, 0
	s, err := pebblestore.Open("store", pebblestore.Options{FS: errorfs.Wrap(mem, disk), Logger: quiet})
	if err == nil {
		for i := 1; i <= steps && err == nil; i++ {
			if err = soon(t, "Apply", func() error { return set(t, s, i) }); err == nil {
				applied = i
				err = soon(t, "Flush", s.Flush)
			}
			if err == nil {
				flushed = i
			}
		}
		if statestore.IsNoSpace(disk.err) && err != nil {
			require.True(t, statestore.IsNoSpace(err), "%v", err)
			require.False(t, statestore.IsCorrupt(err), "a full disk is no damage: %v", err)
		}
		_ = soon(t, "Close", s.Close)
	}
	if statestore.IsNoSpace(disk.err) {
		require.False(t, statestore.IsCorrupt(err), "a full disk is no damage: %v", err)
	}
	s, err = pebblestore.Open("store", pebblestore.Options{FS: mem, Logger: quiet})
	if err != nil {
		require.True(t, statestore.IsCorrupt(err), "%v", err)
		return true
	}
	last := 0
	for i := 1; i <= steps; i++ {
		_, ok, err := s.Get(nil, key(i))
		require.NoError(t, err)
		if ok {
			require.Equal(t, last+1, i, "a hole before %d", i)
			last = i
		}
	}
	require.GreaterOrEqual(t, last, flushed)
	require.LessOrEqual(t, last, applied)
	require.NoError(t, s.Close())
	return disk.writes.Load() <= 0
}

// R8: on a full disk each call says so and nothing piles up; with room again the same store goes on.
func TestAFullDiskIsSaidAndGoneOnFrom(t *testing.T) {
	disk := &bad{err: syscall.ENOSPC}
	disk.writes.Store(1 << 40)
	s, err := pebblestore.Open("store", pebblestore.Options{FS: errorfs.Wrap(vfs.NewMem(), disk), Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, set(t, s, 1))
	disk.writes.Store(0)
	for range 20 {
		err := soon(t, "Flush", s.Flush)
		require.True(t, statestore.IsNoSpace(err), "%v", err)
		require.False(t, statestore.IsCorrupt(err), "%v", err)
		require.True(t, statestore.IsNoSpace(soon(t, "Apply", func() error { return set(t, s, 2) })))
	}
	v, ok, err := s.Get(nil, key(1))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "1", string(v))
	require.Less(t, s.Metrics().MemtableBytes, uint64(4<<20))
	disk.writes.Store(1 << 40)
	require.Eventually(t, func() bool { return set(t, s, 3) == nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Flush())
	_, ok, err = s.Get(nil, key(2))
	require.NoError(t, err)
	require.False(t, ok, "a refused batch is not applied")
	require.NoError(t, s.Close())
}

// small is a disk with little room, which it says.
type small struct {
	vfs.FS
	free atomic.Uint64
}

func (s *small) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: s.free.Load(), TotalBytes: 1 << 40}, nil
}

func TestWithTooLittleRoomNothingIsTaken(t *testing.T) {
	fs := &small{FS: vfs.NewMem()}
	_, err := pebblestore.Open("store", pebblestore.Options{FS: fs, Logger: quiet})
	require.True(t, statestore.IsNoSpace(err), "%v", err)
	fs.free.Store(6 << 20)
	s, err := pebblestore.Open("store", pebblestore.Options{FS: fs, Logger: quiet})
	require.NoError(t, err)
	var b statestore.Batch
	for i := range 200_000 {
		b.Set(key(i), []byte("v"))
	}
	err = s.Apply(&b)
	require.True(t, statestore.IsNoSpace(err), "%v", err)
	_, ok, err := s.Get(nil, key(1))
	require.NoError(t, err)
	require.False(t, ok)
	fs.free.Store(1 << 30)
	require.NoError(t, s.Apply(&b))
	require.NoError(t, s.Close())
}

// F56: a store that a later version wrote is rebuilt, not guessed at.
func TestAnUnknownVersionIsDamage(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		parts := strings.Split(f, ".")
		parts[len(parts)-1] = "999"
		require.NoError(t, os.Rename(f, strings.Join(parts, ".")))
	}
	_, err = pebblestore.Open(dir, pebblestore.Options{Logger: quiet})
	require.True(t, statestore.IsCorrupt(err), "%v", err)
}

// F27: files that vanish under a running store are an error, at the latest at the next Open.
func TestFilesThatVanish(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s, err := pebblestore.Open(dir, pebblestore.Options{Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, set(t, s, 1))
	require.NoError(t, s.Flush())
	require.NoError(t, os.RemoveAll(dir))
	err = set(t, s, 2)
	if err == nil {
		err = soon(t, "Flush", s.Flush)
	}
	require.True(t, statestore.IsCorrupt(err), "%v", err)
	_, _, err = s.Get(nil, key(1))
	require.True(t, statestore.IsCorrupt(err), "it sticks: %v", err)
	_ = soon(t, "Close", s.Close)
	s, err = pebblestore.Open(dir, pebblestore.Options{Logger: quiet})
	require.NoError(t, err, "the directory can be used again")
	require.NoError(t, s.Close())
}

func TestASecondOpenIsRefusedAndNoDamage(t *testing.T) {
	dir := t.TempDir()
	s, err := pebblestore.Open(dir, pebblestore.Options{Logger: quiet})
	require.NoError(t, err)
	_, err = pebblestore.Open(dir, pebblestore.Options{Logger: quiet})
	require.ErrorContains(t, err, dir)
	require.False(t, statestore.IsCorrupt(err), "%v", err)
	require.NoError(t, set(t, s, 1), "the first is unharmed")
	require.NoError(t, s.Close())
}

func TestCloseWaitsForCalls(t *testing.T) {
	for range 20 {
		s, err := pebblestore.Open("store", pebblestore.Options{FS: vfs.NewMem(), Logger: quiet})
		require.NoError(t, err)
		require.NoError(t, set(t, s, 1))
		var calls sync.WaitGroup
		calls.Go(func() { callUntilClosed(t, func() error { _, _, err := s.Get(nil, key(1)); return err }) })
		calls.Go(func() {
			callUntilClosed(t, func() error {
				var keys statestore.Keys
				keys.Add(key(1))
				keys.Add(key(3))
				return s.GetAll(&keys, func(k, _ []byte, _ bool) error { _, _, err := s.Get(nil, k); return err })
			})
		})
		calls.Go(func() { callUntilClosed(t, func() error { return set(t, s, 2) }) })
		calls.Go(func() { callUntilClosed(t, s.Flush) })
		calls.Go(func() {
			callUntilClosed(t, func() error {
				return s.Scan(nil, nil, func(k, _ []byte) error { _, _, err := s.Get(nil, k); return err })
			})
		})
		require.NoError(t, s.Close())
		calls.Wait()
	}
}

func callUntilClosed(t *testing.T, call func() error) {
	for {
		if err := call(); err != nil {
			if !errors.Is(err, statestore.ErrClosed) {
				t.Errorf("a call beside Close: %v", err)
			}
			return
		}
	}
}

func TestAPanicOfTheCallersIsTheCallers(t *testing.T) {
	s, err := pebblestore.Open("store", pebblestore.Options{FS: vfs.NewMem(), Logger: quiet})
	require.NoError(t, err)
	require.NoError(t, set(t, s, 1))
	require.PanicsWithValue(t, "mine", func() {
		_ = s.Scan(nil, nil, func([]byte, []byte) error { panic("mine") })
	})
	require.NoError(t, set(t, s, 2))
	require.NoError(t, s.Close())
}

// R8: a disk that is full while a store with something to flush is opened, and does not tell how full it is, is waited for;
// what was opened over it is opened again.
func TestAStoreOpenedOnAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	disk := &bad{err: syscall.ENOSPC}
	open := func() (*pebblestore.Store, error) {
		return pebblestore.Open("store", pebblestore.Options{FS: errorfs.Wrap(mem, disk), Logger: quiet})
	}
	disk.writes.Store(1 << 40)
	s, err := open()
	require.NoError(t, err)
	require.NoError(t, set(t, s, 1))
	require.NoError(t, s.Close())
	for n := int64(0); n < 20; n++ {
		t.Log("write", n)
		disk.writes.Store(n)
		opened := make(chan struct{})
		go func() {
			defer close(opened)
			s, err = open()
		}()
		select {
		case <-opened:
		case <-time.After(50 * time.Millisecond):
		}
		disk.writes.Store(1 << 40)
		_ = soon(t, "Open", func() error { <-opened; return nil })
		if err != nil {
			require.True(t, statestore.IsNoSpace(err), "%v", err)
			require.False(t, statestore.IsCorrupt(err), "%v", err)
			s, err = open()
			require.NoError(t, err)
		}
		v, ok, err := s.Get(nil, key(1))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "1", string(v))
		require.NoError(t, s.Close())
	}
}
