// Package kafkatest gives a test a real Kafka broker, and the means to break it.
//
// Start takes, in this order:
//
//   - the brokers named by PENSTOCK_TEST_BROKERS ("host:port,host:port"), used as they are. What would break or
//     configure them (Kill, Restart, Pause, WithConfig) skips the test;
//   - else a container of the image PENSTOCK_TEST_IMAGE, DefaultImage if unset, no container if "none", in the
//     Docker that answers here;
//   - else it skips the test and says how to run it. Where CI=true it fails instead: CI skips nothing.
//
// With -short every test that needs a broker is skipped.
package kafkatest

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DefaultImage is the broker that penstock is tested with.
const DefaultImage = "apache/kafka:4.3.1"

const (
	// readyTimeout bounds a broker's start; 2 to 6 s are usual on 2 cores.
	readyTimeout = 90 * time.Second
	// readyInterval is the time between two looks whether it has started.
	readyInterval = 50 * time.Millisecond
	// requestTimeout bounds one admin request of a test.
	requestTimeout = 30 * time.Second
)

// Broker is a single-node cluster that lives as long as the test that started it. Its address stays the same, and
// its data are kept, over Kill, Stop and Restart. Its methods may be called from one goroutine at a time.
type Broker struct {
	t     testing.TB
	addrs []string
	// node is the container. Nil for brokers that are not ours.
	node *node
}

// Option changes how Start sets up a broker.
type Option func(*options)

type options struct {
	properties map[string]string
	proxied    bool
	node       *clusterNode // nil for one alone
}

// WithConfig sets the broker property key, "transaction.max.timeout.ms" say. The last value of a key counts.
func WithConfig(key, value string) Option {
	return func(o *options) { o.properties[key] = value }
}

// WithProxy puts a proxy before the broker, for clients whose network is to be cut: see [Broker.Proxy].
func WithProxy() Option {
	return func(o *options) { o.proxied = true }
}

// defaults make one node start fast and waste no test's time; everything else is as the broker ships.
var defaults = map[string]string{
	"offsets.topic.replication.factor":                 "1",
	"offsets.topic.num.partitions":                     "4",
	"transaction.state.log.replication.factor":         "1",
	"transaction.state.log.min.isr":                    "1",
	"transaction.state.log.num.partitions":             "4",
	"share.coordinator.state.topic.replication.factor": "1",
	"share.coordinator.state.topic.min.isr":            "1",
	"share.coordinator.state.topic.num.partitions":     "1",
	"group.initial.rebalance.delay.ms":                 "0",
	// A test names its topics; a typing error makes none.
	"auto.create.topics.enable": "false",
}

// Start returns a broker that answers. It is removed with its data when the test ends.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b := begin(t, opts...)
	b.awaitReady()
	return b
}

// begin starts a broker and does not wait for it.
func begin(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Kafka broker: run without -short")
	}
	o := options{properties: maps.Clone(defaults)}
	for _, opt := range opts {
		opt(&o)
	}
	b := &Broker{t: t}
	if named := os.Getenv("PENSTOCK_TEST_BROKERS"); named != "" {
		b.addrs = strings.Split(named, ",")
		if len(opts) > 0 {
			b.skipUnlessOurs("sets up the broker")
		}
	} else {
		b.node = startNode(t, o)
		b.addrs = []string{b.node.addr}
	}
	return b
}

// Addr returns host:port of one broker.
func (b *Broker) Addr() string { return b.addrs[0] }

// Addrs returns host:port of every broker to bootstrap from.
func (b *Broker) Addrs() []string { return b.addrs }

// Proxy is the one of [WithProxy].
func (b *Broker) Proxy() *Proxy { return b.node.proxy }

// Kill ends the broker with SIGKILL, as a crash does.
func (b *Broker) Kill() {
	b.t.Helper()
	b.skipUnlessOurs("kills the broker")
	b.node.do("kill broker", b.node.kill)
}

// Stop ends the broker with SIGTERM and waits for its controlled shutdown.
func (b *Broker) Stop() {
	b.t.Helper()
	b.skipUnlessOurs("stops the broker")
	b.node.do("stop broker", b.node.stop)
}

// Restart starts the broker after Kill or Stop, or stops and starts a running one, and returns when it answers.
func (b *Broker) Restart() {
	b.t.Helper()
	b.skipUnlessOurs("restarts the broker")
	b.node.do("stop broker", b.node.stop) // nothing to do for one that is down
	b.node.do("start broker", b.node.start)
	b.awaitReady()
}

// Pause freezes the broker: its connections stay open and nothing is answered.
func (b *Broker) Pause() {
	b.t.Helper()
	b.skipUnlessOurs("pauses the broker")
	b.node.do("pause broker", b.node.pause)
}

// Unpause lets a paused broker go on.
func (b *Broker) Unpause() {
	b.t.Helper()
	b.skipUnlessOurs("pauses the broker")
	b.node.do("unpause broker", b.node.unpause)
}

// Logs returns what the broker has printed, all starts of it; "" for brokers that are not ours.
func (b *Broker) Logs() string {
	b.t.Helper()
	if b.node == nil {
		return ""
	}
	return b.node.logs()
}

// Admin returns a client that is closed when t ends.
func (b *Broker) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	return adminOf(t, b.addrs)
}

func adminOf(t testing.TB, addrs []string) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
	if err != nil {
		t.Fatalf("make admin client of %v: %v", addrs, err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// SetFeature lowers a feature of the cluster to a level, "transaction.version" to 1 say.
func (b *Broker) SetFeature(t testing.TB, feature string, level int16) {
	t.Helper()
	b.skipUnlessOurs("lowers a feature")
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.addrs...))
	if err != nil {
		t.Fatalf("make client of %v: %v", b.addrs, err)
	}
	defer client.Close()
	const safeDowngrade = 2
	req := kmsg.NewPtrUpdateFeaturesRequest()
	update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	update.Feature, update.MaxVersionLevel, update.UpgradeType = feature, level, safeDowngrade
	req.FeatureUpdates = append(req.FeatureUpdates, update)
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		t.Fatalf("set %s of %v to %d: %v", feature, b.addrs, level, err)
	}
	for {
		versions := kmsg.NewPtrApiVersionsRequest()
		versions.ClientSoftwareName, versions.ClientSoftwareVersion = "kafkatest", "1"
		got, err := versions.RequestWith(ctx, client)
		if err == nil && slices.ContainsFunc(got.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool {
			return f.Name == feature && f.MaxVersionLevel == level
		}) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s of %v is not %d: %v", feature, b.addrs, level, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// CreateTopic creates a topic with one replica and returns when it can be found. A nil configs leaves the broker's own settings in force. Tests that
// also run on brokers that are not ours choose names that are new each time.
func (b *Broker) CreateTopic(t testing.TB, name string, partitions int, configs map[string]string) {
	t.Helper()
	b.createTopic(t, name, partitions, 1, configs)
}

func (b *Broker) createTopic(t testing.TB, name string, partitions, replicas int, configs map[string]string) {
	t.Helper()
	values := make(map[string]*string, len(configs))
	for key, value := range configs {
		values[key] = &value
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	admin := b.Admin(t)
	if _, err := admin.CreateTopic(ctx, int32(partitions), int16(replicas), values, name); err != nil {
		t.Fatalf("create topic %q on %v: %v", name, b.addrs, err)
	}
	for {
		// Not through the client's cache: every question is the broker's to answer.
		listed, err := admin.ListEndOffsets(ctx, name)
		if err == nil && listed.Error() == nil && len(listed[name]) == partitions {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("topic %q on %v cannot be found: %v", name, b.addrs, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// skipUnlessOurs skips a test that would do what to brokers that belong to somebody else.
func (b *Broker) skipUnlessOurs(what string) {
	b.t.Helper()
	if b.node == nil {
		b.t.Skipf("%s, which is not done to the brokers of PENSTOCK_TEST_BROKERS=%s", what, strings.Join(b.addrs, ","))
	}
}

// awaitReady returns when a broker is registered and unfenced: it is in the metadata that it answers with.
func (b *Broker) awaitReady() {
	b.t.Helper()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(b.addrs...),
		kgo.DialTimeout(time.Second),
		kgo.RetryBackoffFn(func(int) time.Duration { return readyInterval }),
	)
	if err != nil {
		b.t.Fatalf("make client of %v: %v", b.addrs, err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)

	deadline := time.Now().Add(readyTimeout)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		metadata, err := admin.BrokerMetadata(ctx)
		cancel()
		if err == nil && len(metadata.Brokers) > 0 && metadata.Controller >= 0 {
			return
		}
		if b.node != nil && !b.node.running() {
			b.t.Fatalf("broker on %v ended while it started; it printed:\n%s", b.addrs, b.Logs())
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("no broker ready on %v within %v: %v; it printed:\n%s", b.addrs, readyTimeout, err, b.Logs())
		}
		time.Sleep(readyInterval)
	}
}
