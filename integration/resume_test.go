package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// sessions are the live ones of the resume test.
const sessions = 1_000_000

// A process that is killed with a million live sessions goes on at once: with its store it replays what the store lacks,
// without it restores them all. The times are logged; the bounds are wide, since machines differ.
func TestResumesWithAMillionSessions(t *testing.T) {
	const partitions = 4
	c := newCluster(t, "million", partitions)
	p := c.member(0)
	open(t, c.broker.Addr(), sessions)
	require.Equal(t, sessions, c.audit().OpenSessions)
	for _, wiped := range []bool{false, true} {
		p.kill()
		if wiped {
			require.NoError(t, os.RemoveAll(filepath.Join(c.dir(0), "store")))
		}
		before := ends(t, c)
		poke(t, c.broker.Addr(), partitions)
		began := time.Now()
		p = c.member(0)
		for p := range int32(partitions) {
			for ends(t, c)[p] == before[p] {
				require.Less(t, time.Since(began), 60*time.Second, "partition %d has no output", p)
				time.Sleep(5 * time.Millisecond)
			}
		}
		t.Logf("store wiped %v: first output of every partition after %v", wiped, time.Since(began).Round(time.Millisecond))
		require.Less(t, time.Since(began), 20*time.Second)
	}
	c.audit()
	p.stop()
}

// open produces one transaction of n sessions each.
func open(t *testing.T, addr string, n int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	for i := range n {
		id := fmt.Sprintf("session-%d", i)
		cl.Produce(context.Background(), &kgo.Record{Topic: "transactions", Key: []byte(id),
			Value: fmt.Appendf(nil, `{"sessionId":%q,"winAmount":%d.50}`, id, i%1000)}, nil)
	}
	require.NoError(t, cl.Flush(context.Background()))
}

// poke produces one transaction into each partition.
func poke(t *testing.T, addr string, partitions int32) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	done := map[int32]bool{}
	for i := 0; len(done) < int(partitions); i++ {
		id := fmt.Sprintf("session-%d", i)
		r, err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: "transactions", Key: []byte(id),
			Value: fmt.Appendf(nil, `{"sessionId":%q,"winAmount":1}`, id)}).First()
		require.NoError(t, err)
		done[r.Partition] = true
	}
}

// ends are the last stable offsets of the output: committed records only.
func ends(t *testing.T, c *cluster) map[int32]int64 {
	t.Helper()
	listed, err := kadm.NewClient(c.client()).ListCommittedOffsets(context.Background(), "session-updates")
	require.NoError(t, err)
	m := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { m[o.Partition] = o.Offset })
	return m
}

// F34, F23: a process that dies is replaced by another within the session time-out, whose copies of the state are warm;
// a surplus process stands by until it is needed.
func TestAnotherProcessTakesOver(t *testing.T) {
	const partitions, open200k = 2, 200_000
	c := newCluster(t, "takeover", partitions)
	first := c.member(0, "--standby", "2")
	open(t, c.broker.Addr(), open200k)
	c.audit()
	others := []*process{c.member(1, "--standby", "2"), c.member(2, "--standby", "2")}
	time.Sleep(10 * time.Second) // they join, and their copies catch up
	before := ends(t, c)
	first.kill()
	poke(t, c.broker.Addr(), partitions)
	began := time.Now()
	for p := range int32(partitions) {
		for ends(t, c)[p] == before[p] {
			require.Less(t, time.Since(began), 30*time.Second, "partition %d has no output", p)
			time.Sleep(5 * time.Millisecond)
		}
	}
	t.Logf("session time-out 6s: every partition has output %v after the kill", time.Since(began).Round(time.Millisecond))
	require.Less(t, time.Since(began), 20*time.Second)
	c.audit()
	for _, p := range others {
		p.running()
		p.stop()
	}
}
