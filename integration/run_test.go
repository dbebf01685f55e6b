package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// sample writes n CSV lines of 50 sessions; every 37th is a deposit.
func sample(t *testing.T, n int) (file string) {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "session%d,%d.%02d,%t\n", i%50, i%90, i%100, i%37 == 36)
	}
	file = filepath.Join(t.TempDir(), "sample.csv")
	require.NoError(t, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}

func produce(t *testing.T, args ...string) {
	t.Helper()
	out, errs, status := run(t, time.Minute, append([]string{"produce"}, args...)...)
	require.Zero(t, status, "%s\n%s", out, errs)
}

// The way of a user: run makes the topics, produce feeds, tail shows, audit proves; SIGTERM ends with status 0.
func TestRunProduceTailAudit(t *testing.T) {
	b := kafkatest.Start(t)
	for _, guarantee := range []string{"exactly-once", "at-least-once"} {
		t.Run(guarantee, func(t *testing.T) {
			to := []string{"--brokers", b.Addr(), "--input", "in-" + guarantee}
			from := append([]string{"--app", "app-" + guarantee, "--output", "out-" + guarantee}, to...)
			p := start(t, append([]string{"run", "--create-topics", "--guarantee", guarantee, "--state-dir", t.TempDir()}, from...)...)
			waitForTopic(t, b, "in-"+guarantee)
			produce(t, append(to, sample(t, 5000))...)
			v := audit(t, from...)
			require.Equal(t, 5000, v.Transactions)
			require.Equal(t, 5000, v.Updates)
			require.Equal(t, 5000/37, v.Deposits)

			bad := filepath.Join(t.TempDir(), "bad.csv")
			require.NoError(t, os.WriteFile(bad, []byte("s1,10\nnot a line\ns2,20\n"), 0o600))
			_, errs, status := run(t, time.Minute, append([]string{"produce", bad}, to...)...)
			require.NotZero(t, status)
			require.Contains(t, errs, "bad.csv:2")
			require.Equal(t, 5002, audit(t, from...).Transactions)

			out, errs, status := run(t, time.Minute, "tail", "--brokers", b.Addr(), "--output", "out-"+guarantee, "--from", "start", "--json", "--session", "s1", "--limit", "1")
			require.Zero(t, status, errs)
			require.Contains(t, out, `"currentBalance":10`)
			p.running()
			p.stop()

			configs, err := b.Admin(t).DescribeTopicConfigs(context.Background(), "app-"+guarantee+"-total-changelog", "app-"+guarantee+"-dead-letters")
			require.NoError(t, err)
			for _, rc := range configs {
				for _, c := range rc.Configs {
					if c.Key == "cleanup.policy" {
						require.Equal(t, strings.HasSuffix(rc.Name, "changelog"), c.MaybeValue() == "compact", "%s %s", rc.Name, c.MaybeValue())
					}
				}
			}
		})
	}
}

func waitForTopic(t *testing.T, b *kafkatest.Broker, topic string) {
	t.Helper()
	for range 300 {
		if d, err := b.Admin(t).ListTopics(context.Background(), topic); err == nil && d.Has(topic) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("topic %s is not made within 30 s", topic)
}

// Bad input of an operator: one line that names what, where, both values and the way out; nothing is changed.
func TestWrongConditionsAreNamed(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "four", 4, nil)
	b.CreateTopic(t, "out", 4, nil)
	b.CreateTopic(t, "eight-total-changelog", 8, map[string]string{"cleanup.policy": "compact"})
	b.CreateTopic(t, "deleted-total-changelog", 4, map[string]string{"cleanup.policy": "delete"})
	b.CreateTopic(t, "compacted-dead-letters", 4, map[string]string{"cleanup.policy": "compact"})
	foreign, held := t.TempDir(), t.TempDir()
	holder := start(t, "run", "--brokers", b.Addr(), "--app", "holder", "--input", "four", "--output", "out", "--state-dir", held)
	other := start(t, "run", "--brokers", b.Addr(), "--app", "other", "--input", "four", "--output", "out", "--state-dir", foreign)
	waitForTopic(t, b, "holder-dead-letters")
	waitForTopic(t, b, "other-dead-letters")
	other.stop()
	b.CreateTopic(t, "lost-in", 4, nil)
	waitForTopic(t, b, "lost-in")
	loser := start(t, "run", "--brokers", b.Addr(), "--app", "lost", "--input", "lost-in", "--output", "out", "--state-dir", t.TempDir())
	produce(t, "--brokers", b.Addr(), "--input", "lost-in", sample(t, 100))
	audit(t, "--brokers", b.Addr(), "--app", "lost", "--input", "lost-in", "--output", "out")
	loser.stop()
	_, err := b.Admin(t).DeleteTopics(context.Background(), "lost-total-changelog")
	require.NoError(t, err)

	in := []string{"--brokers", b.Addr(), "--input", "four", "--output", "out"}
	for _, c := range []struct {
		name string
		args []string
		says []string
	}{
		{"flag", []string{"--no-such-flag"}, []string{"no-such-flag"}},
		{"value", append([]string{"--guarantee", "maybe"}, in...), []string{"maybe", "exactly-once", "at-least-once"}},
		{"broker", []string{"--brokers", "127.0.0.1:1"}, []string{"127.0.0.1:1"}},
		{"missing topic", []string{"--brokers", b.Addr(), "--input", "nothing", "--output", "out"}, []string{"nothing", "does not exist", "--create-topics"}},
		{"unequal partitions", append([]string{"--app", "eight"}, in...), []string{"eight-total-changelog", "8", "four", "4"}},
		{"lost changelog", []string{"--brokers", b.Addr(), "--app", "lost", "--input", "lost-in", "--output", "out"}, []string{"lost-total-changelog", "does not exist", "committed offset", "reset"}},
		{"changelog policy", append([]string{"--app", "deleted"}, in...), []string{"deleted-total-changelog", "delete", "compact"}},
		{"dead-letter policy", append([]string{"--app", "compacted"}, in...), []string{"compacted-dead-letters", "compact", "delete"}},
		{"directory in use", append([]string{"--app", "holder", "--state-dir", held}, in...), []string{held, fmt.Sprint(holder.cmd.Process.Pid), "--state-dir"}},
		{"directory of another", append([]string{"--app", "mine", "--state-dir", foreign}, in...), []string{foreign, `"other"`, `"mine"`}},
		{"transaction time-out", append([]string{"--app", "long", "--session-timeout", "20m", "--transaction-timeout", "20m"}, in...), []string{"20m", "transaction.max.timeout.ms", "900000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"run"}, c.args...)
			if !strings.Contains(strings.Join(args, " "), "--state-dir") {
				args = append(args, "--state-dir", t.TempDir())
			}
			began := time.Now()
			out, errs, status := run(t, 30*time.Second, args...)
			t.Logf("status %d after %v: %s%s", status, time.Since(began).Round(time.Millisecond), out, errs)
			require.Positive(t, status)
			line := lastLine(errs)
			for _, s := range c.says {
				require.Contains(t, line, s)
			}
			require.Less(t, time.Since(began), 15*time.Second)
		})
	}
	holder.running()
	topics, err := b.Admin(t).ListTopics(context.Background())
	require.NoError(t, err)
	require.False(t, topics.Has("eight-dead-letters"), "a start that failed created a topic")
	require.False(t, topics.Has("compacted-total-changelog"), "a start that failed created a topic")
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// R13, F23: of two processes with one --instance exactly one goes on; the other says which id.
func TestTwoProcessesOfOneInstance(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "transactions", 4, nil)
	b.CreateTopic(t, "session-updates", 4, nil)
	begin := func() *process {
		return start(t, "run", "--brokers", b.Addr(), "--app", "twice", "--instance", "the-one", "--state-dir", t.TempDir())
	}
	first := begin()
	produce(t, "--brokers", b.Addr(), sample(t, 1000))
	audit(t, "--brokers", b.Addr(), "--app", "twice")
	second := begin()
	var gone, stays *process
	select {
	case <-first.done:
		gone, stays = first, second
	case <-second.done:
		gone, stays = second, first
	case <-time.After(90 * time.Second):
		t.Fatal("two processes hold one instance id")
	}
	require.Error(t, gone.err)
	require.Contains(t, lastLine(gone.log.tail(2000)), "the-one")
	produce(t, "--brokers", b.Addr(), sample(t, 1000))
	audit(t, "--brokers", b.Addr(), "--app", "twice")
	stays.running()
	stays.stop()
}
