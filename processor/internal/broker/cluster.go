package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/processor/internal/gather"
)

// Cluster asks and changes things that belong to no partition's owner. It is safe for concurrent use.
type Cluster struct {
	cfg    Config
	cl     *kgo.Client
	adm    *kadm.Client
	unpack *unpacker      // of all readers
	pack   kgo.Compressor // of all producers

	unsettled sync.Map // transactional id -> ending: see settle

	// Of topics, and of groups and topics, for all tasks together; until life ends.
	listings gather.Askers[listing]
	commits  gather.Askers[kadm.OffsetResponses]
	life     context.Context
	end      context.CancelFunc
}

// Connect makes a client and asks for the cluster's id.
func Connect(ctx context.Context, cfg Config) (*Cluster, error) {
	pack, err := cfg.compressor()
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(cfg.opts()...)
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, cl: cl, adm: kadm.NewClient(cl), unpack: newUnpacker(cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor), unpackMost), pack: pack}
	c.life, c.end = context.WithCancel(context.Background())
	if err := cl.Ping(ctx); err != nil {
		c.Close()
		return nil, Explain(ctx, cfg, err)
	}
	return c, nil
}

// Close closes the client.
func (c *Cluster) Close() {
	c.end()
	c.cl.Close()
}

// ID is the cluster's id.
func (c *Cluster) ID(ctx context.Context) (string, error) {
	m, err := c.adm.BrokerMetadata(ctx)
	if err != nil {
		return "", err
	}
	return m.Cluster, nil
}

// ErrNoTopic says that a topic does not exist.
var ErrNoTopic = errors.New("topic does not exist")

// Topic is what the engine needs to know of one.
type Topic struct {
	Name          string
	ID            string // hexadecimal
	Partitions    int32
	CleanupPolicy string // empty: the right to read it is missing
	// Of its records, in bytes; 0: unknown.
	MaxMessageBytes   int
	TimestampBeforeMs int64 // 0: no bound
	TimestampAfterMs  int64
	DeleteRetentionMs int64

	rights int32 // see Missing
}

// Topic describes one topic; ErrNoTopic if it is not there.
func (c *Cluster) Topic(ctx context.Context, name string) (Topic, error) {
	t, err := c.Seen(ctx, name)
	if err != nil {
		return Topic{}, err
	}
	configs, err := c.adm.DescribeTopicConfigs(ctx, name)
	if err != nil || len(configs) != 1 || configs[0].Err != nil {
		if errors.Is(errors.Join(err, configErr(configs)), kerr.TopicAuthorizationFailed) {
			return t, nil
		}
		return t, fmt.Errorf("describe configs of topic %s: %w", name, errors.Join(err, configErr(configs)))
	}
	for _, cfg := range configs[0].Configs {
		t.setConfig(cfg.Key, cfg.MaybeValue())
	}
	return t, nil
}

// Seen is Topic without the topic's settings, which are a question of their own.
func (c *Cluster) Seen(ctx context.Context, name string) (Topic, error) {
	req := metadataOf(name)
	req.IncludeTopicAuthorizedOperations = true
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return Topic{}, fmt.Errorf("describe topic %s: %w", name, err)
	}
	if len(resp.Topics) != 1 {
		return Topic{}, fmt.Errorf("describe topic %s: %d answers", name, len(resp.Topics))
	}
	found := resp.Topics[0]
	switch err := kerr.ErrorForCode(found.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return Topic{}, fmt.Errorf("topic %s: %w", name, ErrNoTopic)
	case err != nil:
		return Topic{}, fmt.Errorf("describe topic %s: %w", name, lacking(err, Describe, "topic", name))
	}
	return Topic{Name: name, ID: fmt.Sprintf("%x", found.TopicID), Partitions: int32(len(found.Partitions)), rights: found.AuthorizedOperations}, nil
}

// metadataOf asks for topics.
func metadataOf(topics ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func configErr(rs kadm.ResourceConfigs) error {
	for _, r := range rs {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

func (t *Topic) setConfig(key, value string) {
	n, err := strconv.ParseInt(value, 10, 64)
	bounded := err == nil && n < 1<<62
	switch {
	case key == "cleanup.policy":
		t.CleanupPolicy = value
	case key == "max.message.bytes" && err == nil:
		t.MaxMessageBytes = int(n)
	case key == "message.timestamp.before.max.ms" && bounded:
		t.TimestampBeforeMs = n
	case key == "message.timestamp.after.max.ms" && bounded:
		t.TimestampAfterMs = n
	case key == "delete.retention.ms" && err == nil:
		t.DeleteRetentionMs = n
	}
}

// Create creates a topic. One that exists is left as it is.
func (c *Cluster) Create(ctx context.Context, name string, partitions int32, replication int16, configs map[string]string) error {
	values := map[string]*string{}
	for k, v := range configs {
		values[k] = &v
	}
	r, err := c.adm.CreateTopic(ctx, partitions, replication, values, name)
	err = errors.Join(err, r.Err)
	if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return fmt.Errorf("create topic %s with %d partitions, replication factor %d: %w", name, partitions, replication, lacking(err, Create, "topic", name))
}

// brokerConfig is a setting of some broker, "unknown" where the right to read it is missing.
func (c *Cluster) brokerConfig(ctx context.Context, key string) string {
	m, err := c.adm.BrokerMetadata(ctx)
	if err != nil || len(m.Brokers) == 0 {
		return "unknown"
	}
	configs, err := c.adm.DescribeBrokerConfigs(ctx, m.Brokers[0].NodeID)
	if err != nil {
		return "unknown"
	}
	for _, rc := range configs {
		for _, cfg := range rc.Configs {
			if cfg.Key == key && cfg.Value != nil {
				return *cfg.Value
			}
		}
	}
	return "unknown"
}

// transactionV2 reports whether the cluster has transaction.version 2 (KIP-890): a transaction's partitions need
// no separate call.
func (c *Cluster) transactionV2(ctx context.Context) (bool, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "penstock", "1"
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return false, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel >= 2, nil
		}
	}
	return false, nil
}
