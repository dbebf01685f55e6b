package engine_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/processor/engine"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Section 6: what a process may hold, whatever the number of its partitions. The process is a child, so that the embedded
// broker is not counted.

const envServe = "ENGINE_TEST_SERVE" // the child runs the window until SIGTERM

// serve runs the window until it is asked to stop.
func serve() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := engine.Config{Brokers: strings.Split(os.Getenv(envBrokers), ","), StateDir: os.Getenv(envDir), Workers: 2}
	if err := engine.Run(ctx, window(), cfg); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// child is a process that serves a world. before is what a shell does before it becomes the process.
func (w *world) child(dir, before string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.Command("sh", "-c", before+`exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), envBrokers+"="+strings.Join(w.cluster.ListenAddrs(), ","), envDir+"="+dir, envServe+"=1")
	cmd.Stdout, cmd.Stderr = testWriter{w.t}, testWriter{w.t}
	require.NoError(w.t, cmd.Start())
	w.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// end asks a child to stop and waits for it.
func end(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	began := time.Now()
	require.NoError(t, cmd.Wait())
	require.Less(t, time.Since(began), stopLimit)
}

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
}

// residentKiB is a process's memory, or its peak where field is VmHWM.
func residentKiB(t *testing.T, pid int, field string) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			require.NoError(t, err)
			return n
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	require.NoError(t, err)
	return len(list)
}

// F28: 256 partitions need no more than 64 MiB beyond what 4 do. PENSTOCK_TEST_KEYS says at how many sessions.
func TestMemoryDoesNotGrowWithThePartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	onLinux(t)
	keys := envInt(t, "PENSTOCK_TEST_KEYS", 20_000)
	peak := map[int32]int{}
	for _, partitions := range []int32{4, 256} {
		w := newWorldOf(t, partitions)
		cmd := w.child(t.TempDir(), "")
		for range 3 {
			w.wins(keys, 1)
		}
		require.Eventually(t, func() bool { return w.committed() >= int64(w.sent) }, 5*time.Minute, 50*time.Millisecond)
		peak[partitions] = residentKiB(t, cmd.Process.Pid, "VmHWM")
		t.Logf("%d partitions, %d sessions: peak %d MiB, %d descriptors", partitions, keys, peak[partitions]>>10, descriptors(t, cmd.Process.Pid))
		end(t, cmd)
	}
	require.Less(t, peak[256]-peak[4], 64<<10)
}

// committed is how many input records the group has passed.
func (w *world) committed() int64 {
	offsets, err := kadm.NewClient(w.client).FetchOffsets(w.t.Context(), "app")
	if err != nil {
		return 0
	}
	var n int64
	offsets.Each(func(o kadm.OffsetResponse) { n += max(0, o.At) })
	return n
}

// F29: 64 partitions run with 256 file descriptors.
func TestFewFileDescriptorsAreEnough(t *testing.T) {
	onLinux(t)
	w := newWorldOf(t, 64)
	dir := t.TempDir()
	for range 2 { // the second finds a store with tables
		cmd := w.child(dir, "ulimit -n 256; ")
		w.wins(20_000, 2)
		require.Eventually(t, func() bool { return w.committed() >= int64(w.sent) }, time.Minute, 50*time.Millisecond)
		n := descriptors(t, cmd.Process.Pid)
		t.Logf("%d descriptors", n)
		require.Less(t, n, 256)
		end(t, cmd)
	}
}

// F28: partitions that come and go leave nothing behind. PENSTOCK_TEST_ROUNDS says how often.
func TestPartitionsThatComeAndGoLeaveNothing(t *testing.T) {
	onLinux(t)
	rounds := envInt(t, "PENSTOCK_TEST_ROUNDS", 6)
	w := newWorld(t)
	w.send(2000)
	dir := t.TempDir()
	round := func() {
		stop := w.start(w.config(dir))
		w.send(50)
		require.Eventually(t, func() bool { return w.committed() >= int64(w.sent) }, time.Minute, 5*time.Millisecond)
		stop()
	}
	for range 3 {
		round()
	}
	debug.FreeOSMemory()
	goroutines, fds, rss := runtime.NumGoroutine(), descriptors(t, os.Getpid()), residentKiB(t, os.Getpid(), "VmRSS")
	for range rounds {
		round()
	}
	// What ends may take a moment.
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+5 }, 10*time.Second, 10*time.Millisecond, "%d goroutines became %d", goroutines, runtime.NumGoroutine())
	require.Eventually(t, func() bool { return descriptors(t, os.Getpid()) <= fds+3 }, 10*time.Second, 10*time.Millisecond, "%d descriptors became %d", fds, descriptors(t, os.Getpid()))
	debug.FreeOSMemory()
	after := residentKiB(t, os.Getpid(), "VmRSS")
	t.Logf("%d rounds: goroutines %d to %d, descriptors %d to %d, resident %d to %d KiB", rounds, goroutines, runtime.NumGoroutine(), fds, descriptors(t, os.Getpid()), rss, after)
	if rounds >= 50 { // a few say nothing of memory
		require.Less(t, after, rss+rss/20)
	}
}
