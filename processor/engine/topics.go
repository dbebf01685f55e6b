package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
)

// topics are an application's, checked before the group is joined (R10).
type topics struct {
	inputs, outputs, changelogs []broker.Topic
	deadLetters                 broker.Topic // without a name where the policy makes none
}

// findTopics describes every topic of t, creates those it may create, and returns every fault at once.
func findTopics(ctx context.Context, c *broker.Cluster, t *topology.Topology, cfg Config) (topics, error) {
	var ts topics
	var faults []error
	note := func(err error) {
		if err != nil {
			faults = append(faults, err)
		}
	}
	partitions := cfg.Partitions
	for i, name := range t.Inputs {
		topic, err := own(ctx, c, name, partitions, cfg)
		note(err)
		if i == 0 && err == nil {
			partitions = topic.Partitions
		} else if err == nil && topic.Partitions != partitions {
			note(fmt.Errorf("input topic %s has %d partitions, input topic %s has %d: they share keys, so make them equal", t.Inputs[0], partitions, name, topic.Partitions))
		}
		ts.inputs = append(ts.inputs, topic)
	}
	if len(faults) > 0 {
		return ts, errors.Join(faults...)
	}
	for _, name := range t.Outputs {
		topic, err := own(ctx, c, name, partitions, cfg)
		note(err)
		ts.outputs = append(ts.outputs, topic)
	}
	if len(faults) > 0 { // nothing internal is created for an application that cannot run
		return ts, errors.Join(faults...)
	}
	for i := range t.States {
		topic, err := internal(ctx, c, t.ChangelogTopic(i), partitions, cfg, map[string]string{"cleanup.policy": "compact"})
		note(err)
		note(checkChangelog(topic, ts.inputs[0], err))
		ts.changelogs = append(ts.changelogs, topic)
	}
	if cfg.BadInput == DeadLetter {
		topic, err := internal(ctx, c, t.DeadLetterTopic(), partitions, cfg, map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"})
		note(err)
		note(checkDeadLetters(topic, ts.inputs[0], err))
		ts.deadLetters = topic
	}
	return ts, errors.Join(faults...)
}

// own describes one of the user's topics. Their configuration is never altered.
func own(ctx context.Context, c *broker.Cluster, name string, partitions int32, cfg Config) (broker.Topic, error) {
	topic, err := c.Topic(ctx, name)
	if !errors.Is(err, broker.ErrNoTopic) {
		return topic, err
	}
	if !cfg.CreateTopics {
		return topic, fmt.Errorf("topic %s does not exist: create it, or let penstock by --create-topics", name)
	}
	if err := c.Create(ctx, name, partitions, cfg.ReplicationFactor, nil); err != nil {
		return topic, err
	}
	cfg.Logger.Info("topic created", "topic", name, "partitions", partitions)
	return created(ctx, c, name)
}

// internal describes a topic of the engine's, or creates it with its configuration.
func internal(ctx context.Context, c *broker.Cluster, name string, partitions int32, cfg Config, configs map[string]string) (broker.Topic, error) {
	topic, err := c.Topic(ctx, name)
	if !errors.Is(err, broker.ErrNoTopic) {
		return topic, err
	}
	if err := c.Create(ctx, name, partitions, cfg.ReplicationFactor, configs); err != nil {
		return topic, err
	}
	cfg.Logger.Info("topic created", "topic", name, "partitions", partitions, "configs", configs)
	return created(ctx, c, name)
}

// created describes a topic that was made just now; other brokers may not know it at once.
func created(ctx context.Context, c *broker.Cluster, name string) (broker.Topic, error) {
	for {
		topic, err := c.Topic(ctx, name)
		if err == nil && topic.Partitions > 0 || !errors.Is(err, broker.ErrNoTopic) && err != nil || ctx.Err() != nil {
			return topic, err
		}
		if err := pause(ctx, topicPoll); err != nil {
			return topic, err
		}
	}
}

func checkChangelog(topic, input broker.Topic, err error) error {
	switch {
	case err != nil:
		return nil // said already
	case topic.Partitions != input.Partitions:
		return fmt.Errorf("changelog %s has %d partitions, input %s has %d: they must be equal. Recreate the changelog with penstock reset, or use another --app", topic.Name, topic.Partitions, input.Name, input.Partitions)
	case topic.CleanupPolicy != "" && topic.CleanupPolicy != "compact":
		return fmt.Errorf("changelog %s has cleanup.policy %q, which loses state: set it to exactly %q", topic.Name, topic.CleanupPolicy, "compact")
	}
	return nil
}

func checkDeadLetters(topic, input broker.Topic, err error) error {
	switch {
	case err != nil:
		return nil // said already
	case topic.Partitions < input.Partitions:
		return fmt.Errorf("dead-letter topic %s has %d partitions, input %s has %d: give it as many", topic.Name, topic.Partitions, input.Name, input.Partitions)
	case topic.CleanupPolicy != "" && topic.CleanupPolicy != "delete":
		return fmt.Errorf("dead-letter topic %s has cleanup.policy %q, which refuses records without a key: set it to %q", topic.Name, topic.CleanupPolicy, "delete")
	}
	return nil
}

// batchBytes is the client's own bound of a batch, in bytes.
const batchBytes = 1 << 20

// limits are what the broker takes of each topic (R9).
func (ts topics) limits() task.Limits {
	limit := func(t broker.Topic) task.TopicLimit {
		return task.TopicLimit{RecordBytes: int(ts.batchBytes(t.Name)), TimeBeforeMax: t.TimestampBeforeMs, TimeAfterMax: t.TimestampAfterMs}
	}
	l := task.Limits{DeadLetter: limit(ts.deadLetters)}
	for _, t := range ts.outputs {
		l.Outputs = append(l.Outputs, limit(t))
	}
	for _, t := range ts.changelogs {
		l.Changelogs = append(l.Changelogs, limit(t))
	}
	return l
}

// batchBytes bounds a batch for a topic: what the topic takes, and what a client sends at most.
func (ts topics) batchBytes(name string) int32 {
	for _, list := range [][]broker.Topic{ts.outputs, ts.changelogs, {ts.deadLetters}} {
		for _, t := range list {
			if t.Name == name && t.MaxMessageBytes > 0 {
				return int32(max(512, min(t.MaxMessageBytes, batchBytes)))
			}
		}
	}
	return batchBytes
}
