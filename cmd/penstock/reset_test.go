package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestResetReadsWhereTo(t *testing.T) {
	p, err := (&resetFlags{to: "start"}).point()
	require.NoError(t, err)
	require.False(t, p.End)
	require.Nil(t, p.Offsets)
	p, err = (&resetFlags{to: "2026-01-31T08:00:00Z"}).point()
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC), p.Time)
	p, err = (&resetFlags{toOffsets: []string{"0=5", "1=0"}}).point()
	require.NoError(t, err)
	require.Equal(t, map[int32]int64{0: 5, 1: 0}, p.Offsets)
	for _, bad := range []resetFlags{{to: "yesterday"}, {toOffsets: []string{"0"}}, {toOffsets: []string{"0=1", "0=2"}}, {toOffsets: []string{"x=1"}}} {
		_, err := bad.point()
		require.Error(t, err, "%+v", bad)
	}
}

func TestResetSaysFirst(t *testing.T) {
	at := "--brokers=" + broker(t)
	service := start(t, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--instance", "t1", "--http", "127.0.0.1:0")
	base := "http://" + service.stderr.await(t, `msg=http address=(\S+)`)[1]
	require.Eventually(t, func() bool { code, _ := ask(t, base+"/readyz", ""); return code == 200 }, 20*time.Second, 20*time.Millisecond)
	start(t, "s1,10\n", "produce", at, "--input-format", "csv", "-").end(t, 0)
	c := start(t, "", "reset", at)
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), "live members  t1 at ")
	require.Contains(t, c.stderr.String(), "nothing was changed")
	c = start(t, "", "reset", at, "--execute")
	c.end(t, exitFailure)
	require.Contains(t, c.stderr.String(), "the application has live members: stop t1")
	service.stop()
	service.end(t, 0)
	c = start(t, "", "reset", at, "--execute")
	c.end(t, 0)
	require.Contains(t, c.stdout.String(), "makes anew")
	require.Contains(t, c.stderr.String(), "is done")
}
