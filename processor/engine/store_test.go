package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// R8: the store is a cache. Whatever happens to its files between two runs, the next one is exact.
func TestTheStoresFilesMayBeDamaged(t *testing.T) {
	damages := map[string]func(string) error{
		"deleted": os.Remove,
		"cut": func(f string) error {
			i, err := os.Stat(f)
			if err != nil {
				return err
			}
			return os.Truncate(f, i.Size()/2)
		},
		"zeroed": func(f string) error {
			i, err := os.Stat(f)
			if err != nil {
				return err
			}
			return os.WriteFile(f, make([]byte, i.Size()), 0o600)
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			runOnce := func() {
				w.send(1000)
				stop := w.start(w.config(dir))
				require.Equal(t, w.want, w.updates())
				stop()
			}
			runOnce()
			for i := 0; ; i++ {
				files, err := os.ReadDir(filepath.Join(dir, "store"))
				require.NoError(t, err)
				if i >= len(files) || i >= 8 {
					return
				}
				require.NoError(t, damage(filepath.Join(dir, "store", files[i].Name())), fmt.Sprint(files[i].Name()))
				runOnce()
			}
		})
	}
}

// F27: the store's files are deleted under a running process; it goes on, and so does the next one.
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
