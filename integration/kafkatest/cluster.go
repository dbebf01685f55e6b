package kafkatest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/twmb/franz-go/pkg/kadm"
)

// Cluster is several brokers, which are controllers too, so that more than half of them must live.
type Cluster struct {
	t testing.TB
	// Brokers are in the order of their node ids, which begin at 1.
	Brokers []*Broker
}

// clusterHeap is less than one broker's alone: they share the machine.
const clusterHeap = "-Xms128m -Xmx512m"

// StartCluster returns a cluster of n brokers. Topics that it creates, and Kafka's own, have n replicas, of which n-1 must
// have a record before it is acknowledged.
func StartCluster(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	replicas, least := fmt.Sprint(n), fmt.Sprint(n-1)
	for key, value := range map[string]string{
		"default.replication.factor": replicas, "min.insync.replicas": least, "offsets.topic.replication.factor": replicas,
		"transaction.state.log.replication.factor": replicas, "transaction.state.log.min.isr": least,
		"share.coordinator.state.topic.replication.factor": replicas, "share.coordinator.state.topic.min.isr": least,
	} {
		opts = append(opts, WithConfig(key, value))
	}
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("kafka-%d", i+1)
	}
	// Docker's own network, by whose names they find each other; made by the first that needs it.
	var net string
	c := &Cluster{t: t}
	for i := range n {
		b := begin(t, append(opts, func(o *options) {
			o.node = &clusterNode{id: i + 1, names: names, network: func() string {
				if net == "" {
					net = newNetwork(t)
				}
				return net
			}}
		})...)
		if b.node == nil {
			t.Skip("needs brokers of its own, not those of PENSTOCK_TEST_BROKERS")
		}
		c.Brokers = append(c.Brokers, b)
	}
	for _, b := range c.Brokers {
		b.awaitReady()
	}
	return c
}

// Addrs returns host:port of every broker.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, b := range c.Brokers {
		all = append(all, b.addrs...)
	}
	return all
}

// CreateTopic creates a topic with a replica on every broker.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions int) {
	t.Helper()
	c.Brokers[0].createTopic(t, name, partitions, len(c.Brokers), nil)
}

// GroupCoordinator is the broker that coordinates a group.
func (c *Cluster) GroupCoordinator(t testing.TB, group string) *Broker {
	t.Helper()
	return c.coordinator(t, "group "+group, func(ctx context.Context, a *kadm.Client) (kadm.FindCoordinatorResponses, error) {
		found := a.FindGroupCoordinators(ctx, group)
		return found, found.Error()
	})
}

// TransactionCoordinator is the broker that coordinates a transactional id.
func (c *Cluster) TransactionCoordinator(t testing.TB, id string) *Broker {
	t.Helper()
	return c.coordinator(t, "transactional id "+id, func(ctx context.Context, a *kadm.Client) (kadm.FindCoordinatorResponses, error) {
		found := a.FindTxnCoordinators(ctx, id)
		return found, found.Error()
	})
}

func (c *Cluster) coordinator(t testing.TB, of string, find func(context.Context, *kadm.Client) (kadm.FindCoordinatorResponses, error)) *Broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	admin := adminOf(t, c.Addrs())
	for {
		found, err := find(ctx, admin)
		if err == nil {
			for _, f := range found {
				return c.Brokers[f.NodeID-1]
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("find the coordinator of %s: %v", of, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// LeadAgain moves the leadership of all of a topic's partitions to their first replicas.
func (c *Cluster) LeadAgain(t testing.TB, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	admin := adminOf(t, c.Addrs())
	topics, err := admin.ListTopics(ctx, topic)
	if err == nil {
		err = topics.Error()
	}
	if err != nil {
		t.Fatalf("list topic %s: %v", topic, err)
	}
	set := kadm.TopicsSet{}
	for p := range topics[topic].Partitions {
		set.Add(topic, p)
	}
	if _, err := admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, set); err != nil {
		t.Fatalf("elect leaders of topic %s: %v", topic, err)
	}
}

// newNetwork makes a network of Docker's that ends with the test.
func newNetwork(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
	defer cancel()
	n, err := network.New(ctx, network.WithLabels(map[string]string{Label: "true"}))
	if err != nil {
		t.Fatalf("make a network: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), dockerTimeout)
		defer cancel()
		if err := n.Remove(ctx); err != nil {
			t.Errorf("remove network %s: %v", n.Name, err)
		}
	})
	return n.Name
}

// clusterNode is what a broker knows of its cluster.
type clusterNode struct {
	id      int
	names   []string // of all nodes in the network
	network func() string
}

// join adds to a node's request and its variables that it is one of several.
func (n *clusterNode) join(r *testcontainers.ContainerRequest, addr string, port int) {
	voters := make([]string, len(n.names))
	for i, name := range n.names {
		voters[i] = fmt.Sprintf("%d@%s:9093", i+1, name)
	}
	own := n.names[n.id-1]
	for key, value := range map[string]string{
		"node.id":                        fmt.Sprint(n.id),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"listeners":                      fmt.Sprintf("PLAINTEXT://:%d,INTERNAL://:9094,CONTROLLER://:9093", port),
		"advertised.listeners":           fmt.Sprintf("PLAINTEXT://%s,INTERNAL://%s:9094", addr, own),
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
		"inter.broker.listener.name":     "INTERNAL",
	} {
		r.Env[variable(key)] = value
	}
	r.Env["KAFKA_HEAP_OPTS"] = clusterHeap
	name := n.network()
	r.Networks = slices.Concat(r.Networks, []string{name})
	r.NetworkAliases = map[string][]string{name: {own}}
}
