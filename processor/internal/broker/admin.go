package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members names the members of a group: instance id, or member id, and client host. None: nobody holds its partitions.
func (c *Cluster) Members(ctx context.Context, group string) ([]string, error) {
	described, err := c.adm.DescribeGroups(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, err)
	}
	g := described[group]
	if g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("describe group %s: %w", group, g.Err)
	}
	var names []string
	for _, m := range g.Members {
		name := m.MemberID
		if m.InstanceID != nil {
			name = *m.InstanceID
		}
		names = append(names, name+" at "+strings.TrimPrefix(m.ClientHost, "/"))
	}
	return names, nil
}

// Groups names all groups that this client may see.
func (c *Cluster) Groups(ctx context.Context) ([]string, error) {
	listed, err := c.adm.ListGroups(ctx)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	return listed.Groups(), nil
}

// TransactionalIDs lists those with a prefix that the coordinators still know, in order.
func (c *Cluster) TransactionalIDs(ctx context.Context, prefix string) ([]string, error) {
	listed, err := c.adm.ListTransactions(ctx, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("list transactional ids: %w", err)
	}
	ids := listed.TransactionalIDs()
	return slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, prefix) }), nil
}

// Fence ends whatever transaction is open under a transactional id, and shuts out whoever holds it.
func (c *Cluster) Fence(ctx context.Context, transactionalID string, cfg SessionConfig) error {
	cfg.TransactionalID = transactionalID
	s, err := c.NewSession(ctx, cfg)
	if err == nil {
		s.Close()
	}
	return err
}

// Overrides are the settings that a topic has of its own, and its replication factor.
func (c *Cluster) Overrides(ctx context.Context, name string) (configs map[string]string, replication int16, err error) {
	described, err := c.adm.DescribeTopicConfigs(ctx, name)
	if err = errors.Join(err, configErr(described)); err != nil {
		return nil, 0, fmt.Errorf("describe configs of topic %s: %w", name, err)
	}
	configs = map[string]string{}
	for _, rc := range described {
		for _, cfg := range rc.Configs {
			if cfg.Source == kmsg.ConfigSourceDynamicTopicConfig && cfg.Value != nil {
				configs[cfg.Key] = *cfg.Value
			}
		}
	}
	topics, err := c.adm.ListTopics(ctx, name)
	if err == nil {
		err = topics[name].Err
	}
	if err != nil {
		return nil, 0, fmt.Errorf("describe topic %s: %w", name, err)
	}
	return configs, int16(topics[name].Partitions.NumReplicas()), nil
}

// Delete deletes a topic. One that does not exist is no error. Brokers may know it for a while after the answer.
func (c *Cluster) Delete(ctx context.Context, name string) error {
	r, err := c.adm.DeleteTopic(ctx, name)
	err = errors.Join(err, r.Err)
	if err == nil || errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return fmt.Errorf("delete topic %s: %w", name, err)
}

// ErrNotEmpty says that a group has members, so that nobody else may set its offsets.
var ErrNotEmpty = errors.New("the group has members")

// SetOffsets sets the offsets of a group without members: the broker refuses it for any other.
func (c *Cluster) SetOffsets(ctx context.Context, group string, offsets []Offset) error {
	all := kadm.Offsets{}
	for _, o := range offsets {
		all.Add(kadm.Offset{Topic: o.Topic.Name, Partition: o.Partition, At: o.Offset, LeaderEpoch: o.Epoch.kafka(), Metadata: o.Metadata})
	}
	err := c.adm.CommitAllOffsets(ctx, group, all)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress):
		return fmt.Errorf("set offsets of group %s: %w", group, ErrNotEmpty)
	}
	return fmt.Errorf("set offsets of group %s: %w", group, err)
}

// OffsetsAfter are the first offsets at or after a time in Unix milliseconds, by partition; the end where there is none.
func (c *Cluster) OffsetsAfter(ctx context.Context, topic string, milli int64) (map[int32]int64, error) {
	listed, err := c.adm.ListOffsetsAfterMilli(ctx, milli, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of topic %s: %w", topic, err)
	}
	at := map[int32]int64{}
	for p, l := range listed[topic] {
		at[p] = l.Offset
	}
	return at, nil
}

// DeleteBelow deletes the records of a topic below an offset of each partition.
func (c *Cluster) DeleteBelow(ctx context.Context, topic string, below map[int32]int64) error {
	offsets := kadm.Offsets{}
	for p, at := range below {
		offsets.Add(kadm.Offset{Topic: topic, Partition: p, At: at, LeaderEpoch: -1})
	}
	deleted, err := c.adm.DeleteRecords(ctx, offsets)
	if err == nil {
		err = deleted.Error()
	}
	if err != nil {
		return fmt.Errorf("delete processed records of topic %s: %w", topic, lacking(err, Delete, "topic", topic))
	}
	return nil
}
