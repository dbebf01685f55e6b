package integration

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// R14: reset refuses while a member lives, shuts out a process that was frozen before and wakes after it, and what is
// processed again is exact over local state that was kept.
func TestResetWithAFrozenProcess(t *testing.T) {
	b := kafkatest.Start(t)
	app := fmt.Sprintf("reset-%d", time.Now().UnixNano())
	in, out := app+"-in", app+"-out"
	b.CreateTopic(t, in, 4, nil)
	b.CreateTopic(t, out, 4, nil)
	topics := []string{"--brokers", b.Addr(), "--app", app, "--input", in, "--output", out}
	with := func(verb string, more ...string) []string { return append(append([]string{verb}, topics...), more...) }
	dir := t.TempDir()
	frozen := start(t, with("run", "--state-dir", dir, "--instance", "frozen", "--session-timeout", "6s")...)
	produce(t, "--brokers", b.Addr(), "--input", in, sample(t, 2000))
	require.Equal(t, 2000, audit(t, topics...).Updates)

	_, errs, status := run(t, time.Minute, with("reset", "--execute")...)
	require.Equal(t, 1, status)
	require.Contains(t, errs, "frozen at ")

	produce(t, "--brokers", b.Addr(), "--input", in, sample(t, 20000)) // it freezes with work before it
	require.NoError(t, frozen.cmd.Process.Signal(syscall.SIGSTOP))
	var outText string
	require.Eventually(t, func() bool {
		outText, errs, status = run(t, time.Minute, with("reset", "--execute", "--to", "end")...)
		return status == 0
	}, time.Minute, time.Second, "%s", errs)
	require.Contains(t, outText, "makes anew")
	before := count(t, b, out)

	require.NoError(t, frozen.cmd.Process.Signal(syscall.SIGCONT))
	fresh := start(t, with("run", "--state-dir", t.TempDir(), "--instance", "fresh", "--session-timeout", "6s")...)
	produce(t, "--brokers", b.Addr(), "--input", in, sample(t, 1000))
	require.Eventually(t, func() bool { return count(t, b, out) >= before+1000 }, time.Minute, 200*time.Millisecond)
	time.Sleep(2 * time.Second) // whatever the woken one would still write
	require.Equal(t, before+1000, count(t, b, out))
	frozen.kill()
	fresh.stop()

	// From the start, over the directory of the frozen one: each update comes once more.
	_, errs, status = run(t, time.Minute, with("reset", "--execute")...)
	if status != 0 { // the killed one is a member until its session times out
		require.Eventually(t, func() bool {
			_, errs, status = run(t, time.Minute, with("reset", "--execute")...)
			return status == 0
		}, time.Minute, time.Second, "%s", errs)
	}
	before = count(t, b, out)
	again := start(t, with("run", "--state-dir", dir, "--instance", "again")...)
	require.Eventually(t, func() bool { return count(t, b, out) >= before+23000 }, time.Minute, 500*time.Millisecond)
	require.Equal(t, before+23000, count(t, b, out))
	again.stop()
}

// count counts the committed records of a topic.
func count(t *testing.T, b *kafkatest.Broker, topic string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ends, err := b.Admin(t).ListCommittedOffsets(ctx, topic)
	require.NoError(t, err)
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords())
	require.NoError(t, err)
	defer cl.Close()
	n, at := 0, map[int32]int64{}
	for {
		left := false
		for p, end := range ends[topic] {
			left = left || at[p] < end.Offset
		}
		if !left {
			return n
		}
		fetches := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			at[r.Partition] = r.Offset + 1
			if !r.Attrs.IsControl() {
				n++
			}
		})
	}
}
