package pebblestore_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/penstock/penstock/statestore/storetest"
	"github.com/stretchr/testify/require"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// disk is a file system in memory that loses what was not synced.
type disk struct {
	t  *testing.T
	fs *vfs.MemFS
	s  *pebblestore.Store
}

func (d *disk) Open() (statestore.Store, error) {
	s, err := pebblestore.Open("store", pebblestore.Options{FS: d.fs, Logger: quiet})
	d.s = s
	return s, err
}

func (d *disk) Crash() {
	after := d.fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(d.t, d.s.Close()) // on the file system that is gone
	d.fs = after
}

func TestPebble(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Device { return &disk{t: t, fs: vfs.NewCrashableMem()} })
}

// batches is how many a filled store has; batch i gives every key the value i.
const batches = 3

// R8: a damaged file is told, or leaves the effect of a prefix of the batches, as a crash may; it never ends the process
// and never makes a value up.
func TestDamagedFilesAreToldOrLeaveAPrefix(t *testing.T) {
	for _, damage := range []string{"cut", "tail cut", "zeroed", "deleted", "flipped"} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			for i := 0; ; i++ {
				dir := filepath.Join(t.TempDir(), "store")
				fill(t, dir)
				files, err := os.ReadDir(dir)
				require.NoError(t, err)
				if i == len(files) {
					return
				}
				name := files[i].Name()
				harm(t, filepath.Join(dir, name), damage)
				values, err := read(dir)
				if err != nil {
					require.True(t, statestore.IsCorrupt(err), "%s %s: %v", damage, name, err)
					continue
				}
				require.Len(t, values, 1, "%s %s: keys of different batches", damage, name)
			}
		})
	}
}

func key(i int) []byte { return fmt.Appendf(nil, "key%05d", i) }

const keys = 1000

func fill(t *testing.T, dir string) {
	t.Helper()
	s, err := pebblestore.Open(dir, pebblestore.Options{Logger: quiet})
	require.NoError(t, err)
	for n := range batches {
		var b statestore.Batch
		for i := range keys {
			b.Set(key(i), fmt.Append(nil, n+1))
		}
		require.NoError(t, s.Apply(&b))
		require.NoError(t, s.Flush())
	}
	require.NoError(t, s.Close())
}

func harm(t *testing.T, file, damage string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	switch damage {
	case "deleted":
		require.NoError(t, os.Remove(file))
		return
	case "cut":
		raw = raw[:len(raw)/2]
	case "tail cut":
		raw = raw[:max(0, len(raw)-10)]
	case "emptied":
		raw = nil
	case "zeroed":
		clear(raw)
	case "flipped":
		if len(raw) > 0 {
			raw[len(raw)/2] ^= 0x40
		}
	}
	require.NoError(t, os.WriteFile(file, raw, 0o600))
}

// read returns the different values of all keys, "" for one that is not there.
func read(dir string) (values map[string]bool, err error) {
	s, err := pebblestore.Open(dir, pebblestore.Options{Logger: quiet})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ignoreCorrupt(s.Close())) }()
	values = map[string]bool{}
	for i := range keys {
		got, _, err := s.Get(nil, key(i))
		if err != nil {
			return nil, err
		}
		values[string(got)] = true
	}
	return values, nil
}

func ignoreCorrupt(err error) error {
	if statestore.IsCorrupt(err) {
		return nil
	}
	return err
}

// R8: the tables of an open store are damaged: what is read is right, or the error says that they are.
func TestTablesDamagedUnderAnOpenStoreAreTold(t *testing.T) {
	const many = 100_000
	for _, damage := range []string{"cut", "tail cut", "emptied", "zeroed", "flipped"} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			s, err := pebblestore.Open(dir, pebblestore.Options{Logger: quiet, MemoryBytes: 8 << 20})
			require.NoError(t, err)
			defer func() { require.NoError(t, ignoreCorrupt(s.Close())) }()
			var b statestore.Batch
			for i := range many {
				b.Set(key(i), fmt.Append(nil, i*i))
			}
			require.NoError(t, s.Apply(&b))
			require.NoError(t, s.Flush())
			_, _, err = s.Get(nil, key(0)) // opens the table
			require.NoError(t, err)
			tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
			require.NoError(t, err)
			require.NotEmpty(t, tables)
			for _, file := range tables {
				harm(t, file, damage)
			}
			var keys statestore.Keys
			for i := 0; i < many; i += 50 {
				keys.Add(key(i))
			}
			at := 0
			err = s.GetAll(&keys, func(k, v []byte, ok bool) error {
				require.True(t, ok)
				require.Equal(t, string(key(at)), string(k))
				require.Equal(t, fmt.Sprint(at*at), string(v))
				at += 50
				return nil
			})
			if damage != "tail cut" {
				require.True(t, statestore.IsCorrupt(err), "%v", err)
			}
			failed := 0
			for i := 0; i < many; i += 50 {
				got, ok, err := s.Get(nil, key(i))
				if err != nil {
					require.True(t, statestore.IsCorrupt(err), "%v", err)
					failed++
					continue
				}
				require.True(t, ok)
				require.Equal(t, fmt.Sprint(i*i), string(got))
			}
			if damage != "tail cut" { // whose end was read before
				require.NotZero(t, failed)
			}
		})
	}
}
