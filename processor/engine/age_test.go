package engine_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/stretchr/testify/require"
)

// R7: local state that is older than the changelog's tombstones, or from the future, is wiped before use: a purged
// tombstone would bring a closed session back.
func TestStateThatIsTooOldIsWiped(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age   time.Duration
		wiped bool
	}{
		"young":      {time.Hour, false},
		"old":        {48 * time.Hour, true},
		"the future": {-time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			w.send(2000)
			stop := w.start(w.config(dir))
			w.updates()
			stop()
			grow(t, filepath.Join(dir, "store"), c.age)

			var log logged
			cfg := w.config(dir)
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			w.send(2000)
			stop = w.start(cfg)
			require.Equal(t, w.want, w.updates())
			stop()
			if c.wiped {
				require.Contains(t, log.String(), "local state is wiped")
			} else {
				require.NotContains(t, log.String(), "local state is wiped")
			}
		})
	}
}

// grow makes every partition's position that old.
func grow(t *testing.T, store string, age time.Duration) {
	t.Helper()
	s, err := pebblestore.Open(store, pebblestore.Options{})
	require.NoError(t, err)
	var b statestore.Batch
	for p := range int32(4) {
		at, ok, err := task.ReadPosition(s, p)
		require.NoError(t, err)
		require.True(t, ok)
		at.Time = time.Now().Add(-age).UnixMilli()
		task.WritePosition(&b, p, at)
	}
	require.NoError(t, s.Apply(&b))
	require.NoError(t, s.Close())
}
