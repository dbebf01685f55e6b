package broker

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const outTopicName = "out"

// brokers are embedded ones, with a topic of 4 partitions.
type brokers struct {
	*kfake.Cluster
	t   *testing.T
	ctx context.Context
}

func newBrokers(t *testing.T, opts ...kfake.Opt) *brokers {
	t.Helper()
	cluster, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(4, outTopicName)}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return &brokers{cluster, t, ctx}
}

func (b *brokers) connect(cfg Config) *Cluster {
	b.t.Helper()
	cfg.Seeds = b.ListenAddrs()
	c, err := Connect(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(c.Close)
	return c
}

func (b *brokers) session(c *Cluster, cfg SessionConfig) *Session {
	b.t.Helper()
	cfg.TransactionTimeout, cfg.Writes = 10*time.Second, []string{outTopicName}
	s, err := c.NewSession(b.ctx, cfg)
	require.NoError(b.t, err)
	b.t.Cleanup(s.Close)
	return s
}

func (b *brokers) create(topic string, partitions int32) {
	b.t.Helper()
	require.NoError(b.t, b.CreateTopic(topic, partitions, nil))
}

func (b *brokers) admin() *kadm.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.ListenAddrs()...))
	require.NoError(b.t, err)
	b.t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

// older are embedded brokers of both protocols of transactions.
var older = map[string][]kfake.Opt{"transaction.version 2": nil, "transaction.version 1": {kfake.MaxVersions(kversion.V2_8_0())}}
