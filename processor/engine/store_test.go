package engine_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// damages are what may happen to a file.
var damages = map[string]func(file string, size int64) error{
	"deleted": func(f string, _ int64) error { return os.Remove(f) },
	"cut":     func(f string, size int64) error { return os.Truncate(f, size/2) },
	"emptied": func(f string, _ int64) error { return os.Truncate(f, 0) },
	"zeroed":  func(f string, size int64) error { return overwrite(f, make([]byte, size)) },
	"flipped": func(f string, size int64) error {
		raw, err := os.ReadFile(f)
		if err == nil && size > 0 {
			raw[rand.N(size)] ^= 1
			err = overwrite(f, raw)
		}
		return err
	},
}

// overwrite keeps the file itself, which a process may have open.
func overwrite(file string, raw []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	return errors.Join(err, f.Close())
}

// damage does something to the store's nth file, or to all for -1, and returns false where there is none.
func damage(t *testing.T, dir, how string, nth int) bool {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "store"))
	if errors.Is(err, fs.ErrNotExist) {
		return false // a running process sets it aside just now
	}
	require.NoError(t, err)
	for i, f := range files {
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) || nth >= 0 && i != nth {
			continue
		}
		require.NoError(t, err)
		if err := damages[how](filepath.Join(dir, "store", f.Name()), info.Size()); !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err, "%s", f.Name())
		}
	}
	return nth < len(files)
}

// R8: the store is a cache. Whatever happens to any of its files between two runs, the next one is exact, and says so once
// where it has to rebuild.
func TestTheStoresFilesMayBeDamaged(t *testing.T) {
	for how := range damages {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir := t.TempDir()
			runOnce := func() string {
				var log logged
				cfg := w.config(dir)
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				w.send(300)
				stop := w.start(cfg)
				require.Equal(t, w.want, w.updates(), "%s", &log)
				stop()
				return log.String()
			}
			runOnce()
			rebuilt, files := 0, 0
			for ; damage(t, dir, how, files); files++ {
				log := runOnce()
				n := strings.Count(log, "it is set aside and rebuilt")
				require.LessOrEqual(t, n, 1, "a loop: %s", log)
				rebuilt += n
			}
			require.Greater(t, files, 5)
			t.Logf("%d files, one by one; rebuilt %d times", files, rebuilt)
		})
	}
}

// R8, F27: the store's files are damaged under a running process, one by one or all: it goes on, and so do the next one and
// one that finds what a kill would have left.
func TestTheStoresFilesMayBeDamagedInMidRun(t *testing.T) {
	for how := range damages {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			dir, killed := t.TempDir(), t.TempDir()
			var log logged
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(&log)
				}
			})
			cfg := w.config(dir)
			cfg.Logger, cfg.CommitInterval = slog.New(slog.NewTextHandler(&log, nil)), 20*time.Millisecond
			cfg = cfg.WithSmallSteps(20*time.Millisecond, 0)
			w.send(2000)
			stop := w.start(cfg)
			require.Equal(t, w.want, w.updates())
			for nth := range 5 {
				damage(t, dir, how, []int{0, 2, 4, 1, -1}[nth])
				feed := w.feed(20, 5*time.Millisecond)
				time.Sleep(100 * time.Millisecond)
				feed()
				require.Equal(t, w.want, w.updates(), "%s", &log)
			}
			if err := os.CopyFS(filepath.Join(killed, "store"), os.DirFS(filepath.Join(dir, "store"))); !errors.Is(err, fs.ErrNotExist) {
				require.NoError(t, err)
			} // else it is being set aside, or a file came and went: the copy is one more damage
			identity, err := os.ReadFile(filepath.Join(dir, "identity.json"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(killed, "identity.json"), identity, 0o600))
			stop()
			for _, d := range []string{killed, dir} {
				cfg.StateDir = d
				w.send(500)
				stop = w.start(cfg)
				require.Equal(t, w.want, w.updates(), "%s", &log)
				stop()
			}
			n := strings.Count(log.String(), "it is set aside and rebuilt")
			require.LessOrEqual(t, n, 7, "a loop: %s", &log)
			t.Logf("rebuilt %d times", n)
		})
	}
}

// F27: the store's directory is deleted under a running process; it goes on, and so does the next one.
func TestTheStoreMayVanishUnderARunningProcess(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	w.send(5000)
	stop := w.start(w.config(dir))
	require.Equal(t, w.want, w.updates())
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "store")))
	feed := w.feed(100, 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	feed()
	require.Equal(t, w.want, w.updates())
	stop()
	w.send(1000)
	stop = w.start(w.config(dir))
	require.Equal(t, w.want, w.updates())
	stop()
}
