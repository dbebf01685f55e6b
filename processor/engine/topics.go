package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
)

// topics are an application's, checked before the group is joined (R10).
type topics struct {
	inputs, outputs, changelogs []broker.Topic
	deadLetters                 broker.Topic // without a name where the policy makes none
}

// wanted is one topic of an application.
type wanted struct {
	name       string
	partitions int32 // of one that is made
	create     bool
	configs    map[string]string
	check      func(broker.Topic) error
	needs      []broker.Right
	// lost is asked before the topic is created: an error says that it was there before. It is given the topics found,
	// the inputs first.
	lost func(inputs []broker.Topic) error
}

// findTopics describes and checks every topic of t and reports every fault at once. Only where there is none are the
// missing topics created: a start that fails changes nothing.
func findTopics(ctx context.Context, c *broker.Cluster, t *topology.Topology, cfg Config) (topics, error) {
	first, err := firstInput(ctx, c, t, cfg)
	if err != nil {
		return topics{}, err
	}
	own := func(name string, needs broker.Right, check func(broker.Topic) error) wanted {
		return wanted{name: name, partitions: first.Partitions, create: cfg.CreateTopics, needs: []broker.Right{needs}, check: check}
	}
	internal := func(name string, configs map[string]string, check func(broker.Topic, broker.Topic) error) wanted {
		return wanted{name: name, partitions: first.Partitions, create: true, configs: configs, needs: []broker.Right{broker.Read, broker.Write},
			check: func(t broker.Topic) error { return check(t, first) }}
	}
	between := func(name string, filler *topology.Topology, check func(broker.Topic, broker.Topic) error) wanted {
		w := internal(name, repartitionConfigs, check)
		w.lost = func([]broker.Topic) error { return checkFilled(ctx, c, filler) }
		return w
	}
	var want []wanted
	for _, name := range t.Inputs {
		if t.IsInternal(name) {
			want = append(want, between(name, t.Filler(name), func(topic, first broker.Topic) error {
				return errors.Join(checkRepartition(topic, first), checkInput(topic, first))
			}))
			continue
		}
		want = append(want, own(name, broker.Read, func(t broker.Topic) error { return checkInput(t, first) }))
	}
	for _, name := range t.Outputs {
		if t.IsInternal(name) {
			want = append(want, between(name, t, checkRepartition))
			continue
		}
		want = append(want, own(name, broker.Write, nil))
	}
	for _, name := range t.Tables {
		w := own(name, broker.Read, func(t broker.Topic) error { return warnTable(t, cfg) })
		w.configs = map[string]string{"cleanup.policy": "compact"}
		want = append(want, w)
	}
	for i := range t.States {
		w := internal(t.ChangelogTopic(i), map[string]string{"cleanup.policy": "compact"}, checkChangelog)
		w.lost = func(found []broker.Topic) error { return checkLost(ctx, c, t, i, found[:len(t.Inputs)]) }
		want = append(want, w)
	}
	if cfg.BadInput == DeadLetter {
		want = append(want, internal(t.DeadLetterTopic(), map[string]string{"cleanup.policy": "delete", "retention.ms": "-1"}, checkDeadLetters))
	}
	found, err := settle(ctx, c, want, cfg)
	if err != nil {
		return topics{}, err
	}
	var ts topics
	take := func(n int) []broker.Topic {
		some := found[:n]
		found = found[n:]
		return some
	}
	ts.inputs, ts.outputs = take(len(t.Inputs)), take(len(t.Outputs))
	take(len(t.Tables))
	ts.changelogs = take(len(t.States))
	if len(found) > 0 {
		ts.deadLetters = found[0]
	}
	return ts, nil
}

// firstInput is the topic that decides the partition count; one that is yet to be made has its count to be alone. An
// internal one gets as many as what it is made from.
func firstInput(ctx context.Context, c *broker.Cluster, t *topology.Topology, cfg Config) (broker.Topic, error) {
	name := t.Inputs[0]
	first, err := c.Topic(ctx, name)
	if filler := t.Filler(name); errors.Is(err, broker.ErrNoTopic) && filler != nil {
		if first, err = c.Topic(ctx, filler.Inputs[0]); err == nil {
			return broker.Topic{Name: name, Partitions: first.Partitions}, nil
		}
	}
	if errors.Is(err, broker.ErrNoTopic) {
		return broker.Topic{Name: name, Partitions: cfg.Partitions}, nil
	}
	return first, err
}

// found checks a topic that is there.
func (w wanted) found(t broker.Topic, cfg Config) error {
	if t.CleanupPolicy == "" {
		cfg.Logger.Warn("the settings of a topic cannot be read, since the right DescribeConfigs on it is missing: its cleanup.policy, size limits and retention are not checked, and records that it would refuse are found late",
			"topic", t.Name)
	}
	err := t.Missing(w.needs...)
	if w.check != nil {
		err = errors.Join(err, w.check(t))
	}
	return err
}

// settle describes and checks all topics, and then creates those that are missing.
func settle(ctx context.Context, c *broker.Cluster, want []wanted, cfg Config) ([]broker.Topic, error) {
	found := make([]broker.Topic, len(want))
	var missing []int
	var faults []error
	for i, w := range want {
		topic, err := c.Topic(ctx, w.name)
		switch {
		case errors.Is(err, broker.ErrNoTopic) && w.create:
			missing = append(missing, i)
			continue
		case errors.Is(err, broker.ErrNoTopic):
			err = fmt.Errorf("topic %s does not exist: create it, or let penstock by --create-topics", w.name)
		case err == nil:
			err = w.found(topic, cfg)
		}
		faults = append(faults, err)
		found[i] = topic
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	for _, i := range missing {
		if want[i].lost == nil {
			continue
		}
		lost := want[i].lost(found)
		if lost == nil {
			continue
		}
		topic, err := madeMeanwhile(ctx, c, want[i].name)
		if errors.Is(err, broker.ErrNoTopic) {
			err = lost
		}
		if err == nil {
			err = want[i].found(topic, cfg)
		}
		if err != nil {
			return nil, err
		}
		found[i] = topic
	}
	for _, i := range missing {
		w := want[i]
		if found[i].ID != "" {
			continue
		}
		if err := c.Create(ctx, w.name, w.partitions, cfg.ReplicationFactor, w.configs); err != nil {
			return nil, err
		}
		cfg.Logger.Info("topic created", "topic", w.name, "partitions", w.partitions, "configs", w.configs)
		topic, err := created(ctx, c, w.name)
		if err != nil {
			return nil, err
		}
		found[i] = topic
	}
	return found, nil
}

// madeMeanwhile describes a topic that was not there, but that offsets were committed with: another process may have made
// it and committed in between, when this one was held up. A broker may hear of a new topic later than others.
func madeMeanwhile(ctx context.Context, c *broker.Cluster, name string) (topic broker.Topic, err error) {
	for range 5 {
		if topic, err = c.Topic(ctx, name); !errors.Is(err, broker.ErrNoTopic) || pause(ctx, topicPoll) != nil {
			break
		}
	}
	return topic, err
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

// checkLost refuses to make a changelog anew where the group committed offsets while the application had that state: its
// values would be gone (R6). A state that the application did not have is new.
func checkLost(ctx context.Context, c *broker.Cluster, t *topology.Topology, state int, inputs []broker.Topic) error {
	for _, input := range inputs {
		if input.ID == "" {
			continue // it is yet to be created
		}
		committed, err := committedOf(ctx, c, t.ID, input)
		if err != nil {
			return err
		}
		for p, at := range committed {
			if restore.Resetting(at.Metadata) {
				return fmt.Errorf("a reset of application %s has begun and not ended: run penstock reset again, with the same arguments", t.ID)
			}
			if m, ok := restore.ReadMark(at.Metadata); at.Offset >= 0 && (!ok || m.HadState(t.States[state])) {
				return fmt.Errorf("changelog %s does not exist, but group %s has committed offset %d of topic %s partition %d with it: its state is lost. Restore the topic, run penstock reset to process from the start, or use another --app",
					t.ChangelogTopic(state), t.ID, at.Offset, input.Name, p)
			}
		}
	}
	return nil
}

// committedOf returns what a group committed for a topic, once the broker can tell.
func committedOf(ctx context.Context, c *broker.Cluster, group string, topic broker.Topic) (map[int32]broker.Committed, error) {
	partitions := make([]int32, topic.Partitions)
	for p := range partitions {
		partitions[p] = int32(p)
	}
	for {
		committed, err := c.Committed(ctx, group, topic.Name, partitions)
		if err == nil || !broker.IsRetriable(err) {
			return committed, err
		}
		if pause(ctx, topicPoll) != nil {
			return nil, err
		}
	}
}

func checkInput(topic, first broker.Topic) error {
	if topic.Partitions == first.Partitions {
		return nil
	}
	return fmt.Errorf("input topic %s has %d partitions, input topic %s has %d: they share keys, so make them equal", topic.Name, topic.Partitions, first.Name, first.Partitions)
}

// warnTable says where the copies of a table may come to differ, which is its owner's to decide.
func warnTable(topic broker.Topic, cfg Config) error {
	if topic.CleanupPolicy != "" && topic.CleanupPolicy != "compact" {
		cfg.Logger.Warn("a table's topic is not compacted alone: what its retention deletes stays in the copies that have read it, and is missing in later ones",
			"topic", topic.Name, "cleanup.policy", topic.CleanupPolicy)
	}
	return nil
}

func checkChangelog(topic, input broker.Topic) error {
	switch {
	case topic.Partitions != input.Partitions:
		return fmt.Errorf("changelog %s has %d partitions, input %s has %d: they must be equal. Recreate the changelog with penstock reset, or use another --app", topic.Name, topic.Partitions, input.Name, input.Partitions)
	case topic.CleanupPolicy != "" && topic.CleanupPolicy != "compact":
		return fmt.Errorf("changelog %s has cleanup.policy %q, which loses state: set it to exactly %q", topic.Name, topic.CleanupPolicy, "compact")
	}
	return nil
}

func checkDeadLetters(topic, input broker.Topic) error {
	switch {
	case topic.Partitions < input.Partitions:
		return fmt.Errorf("dead-letter topic %s has %d partitions, input %s has %d: give it as many", topic.Name, topic.Partitions, input.Name, input.Partitions)
	case topic.CleanupPolicy != "" && topic.CleanupPolicy != "delete":
		return fmt.Errorf("dead-letter topic %s has cleanup.policy %q, which refuses records without a key: set it to %q", topic.Name, topic.CleanupPolicy, "delete")
	}
	return nil
}

// batchBytes bounds a batch where a topic takes larger ones.
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

// batchBytes bounds a batch for a topic: what the topic takes, and batchBytes at most.
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
