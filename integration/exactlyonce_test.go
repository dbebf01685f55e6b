package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// R1-R6, R11, R13: two processes under load, each killed at random moments, its state kept or wiped by turns: the audit
// of a million transactions is exact.
func TestKilledUnderLoadIsExact(t *testing.T) {
	killedUnderLoad(t, kafkatest.Start(t), 1_000_000, 24)
}

// F60: the same on a broker with the older transaction protocol, where partitions and offsets are added to a transaction by
// calls of their own, and its end does not change the producer's epoch (before KIP-890).
func TestKilledUnderLoadIsExactByTheOlderProtocol(t *testing.T) {
	b := kafkatest.Start(t)
	b.SetFeature(t, "transaction.version", 1)
	killedUnderLoad(t, b, 250_000, 8)
}

func killedUnderLoad(t *testing.T, b *kafkatest.Broker, transactions, kills int) {
	t.Helper()
	b.CreateTopic(t, "transactions", 8, nil)
	b.CreateTopic(t, "session-updates", 8, nil)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	root := t.TempDir()

	common := []string{"--brokers", b.Addr(), "--app", "killed"}
	begin := func(n int) *process {
		return start(t, append([]string{"run", "--instance", fmt.Sprintf("member-%d", n), "--workers", "2",
			"--state-dir", filepath.Join(root, fmt.Sprint(n)), "--session-timeout", "6s"}, common...)...)
	}
	members := []*process{begin(0), begin(1)}
	fed := make(chan error, 1)
	const pause = 1500 * time.Millisecond
	go func() { fed <- feed([]string{b.Addr()}, transactions, time.Duration(kills)*pause, seed) }()

	for i := range kills {
		time.Sleep(pause/2 + time.Duration(rng.Int64N(int64(pause))))
		n := i % 2
		members[n].running()
		members[n].kill()
		if i%4 >= 2 {
			require.NoError(t, os.RemoveAll(filepath.Join(root, fmt.Sprint(n))))
		}
		members[n] = begin(n)
	}
	require.NoError(t, <-fed)
	v := audit(t, append(common, "--wait", "60s")...)
	require.Equal(t, transactions, v.Transactions)
	t.Logf("%d kills, verdict %+v", kills, v)
	for _, m := range members {
		m.stop()
	}
	audit(t, common...)
}

// feed produces n transactions of a few thousand sessions, spread over a time. One that the client gives up, while the broker
// is away, is sent again, and may then be there twice.
func feed(addrs []string, n int, over time.Duration, seed uint64) error {
	return feedBy(func(id string) []byte { return []byte(id) }, addrs, n, over, seed)
}

// feedBy is feed with other keys.
func feedBy(key func(id string) []byte, addrs []string, n int, over time.Duration, seed uint64) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		return err
	}
	defer cl.Close()
	rng := rand.New(rand.NewPCG(seed, 1))
	ctx := context.Background()
	var again []*kgo.Record
	var mu sync.Mutex
	promise := func(r *kgo.Record, err error) {
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			again = append(again, &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value})
		}
	}
	began := time.Now()
	for i := range n {
		if ahead := time.Duration(float64(over)*float64(i)/float64(n)) - time.Since(began); i%1000 == 0 && ahead > 0 {
			time.Sleep(ahead)
		}
		id := fmt.Sprintf("session-%d", rng.IntN(5000))
		cl.Produce(ctx, &kgo.Record{Topic: "transactions", Key: key(id), Value: fmt.Appendf(nil,
			`{"sessionId":%q,"winAmount":%d.%02d,"deposit":%t}`, id, rng.IntN(500), rng.IntN(100), rng.IntN(30) == 0)}, promise)
	}
	for end := time.Now().Add(time.Minute); ; {
		if err := cl.Flush(ctx); err != nil {
			return err
		}
		mu.Lock()
		rest := again
		again = nil
		mu.Unlock()
		if len(rest) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d transactions cannot be sent", len(rest))
		}
		for _, r := range rest {
			cl.Produce(ctx, r, promise)
		}
	}
}
