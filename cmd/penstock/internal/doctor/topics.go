package doctor

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topics checks existence, counts, policies and rights (R10).
func (d *doctor) topics(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	const made = "it is made at the first start; the right Create is needed for that"
	missing := func(level Level) (Level, string) {
		if d.CreateTopics {
			return Warn, made
		}
		return level, "create it, or run with --create-topics"
	}
	level, do := missing(Fail)
	d.topic(ctx, "input", d.Input, level, do, kmsg.ACLOperationRead)
	d.topic(ctx, "output", d.Output, level, do, kmsg.ACLOperationWrite)
	for _, name := range d.Repartition {
		if n := d.topic(ctx, "repartition", name, Warn, made, kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete); n > 0 {
			d.partitions, d.counted = n, "repartition topic "+name // what the changelogs must have
			d.policy(ctx, "repartition", name, "delete")
		}
	}
	for _, name := range d.Changelogs {
		if n := d.topic(ctx, "changelog", name, Warn, made, kmsg.ACLOperationRead, kmsg.ACLOperationWrite); n > 0 {
			d.equal("changelog", name, n, n == d.partitions, "run penstock reset, or use another --app")
			d.policy(ctx, "changelog", name, "compact")
		}
	}
	if d.DeadLetters {
		name := d.App + "-dead-letters"
		if n := d.topic(ctx, "dead letters", name, Warn, made, kmsg.ACLOperationWrite); n > 0 {
			d.equal("dead letters", name, n, n >= d.partitions, "give it at least as many")
			d.policy(ctx, "dead letters", name, "delete")
		}
	}
}

// topic returns the partition count, 0 where there is none.
func (d *doctor) topic(ctx context.Context, what, name string, absent Level, do string, needs ...kmsg.ACLOperation) int32 {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, t)
	req.IncludeTopicAuthorizedOperations = true
	resp, err := req.RequestWith(ctx, d.cl)
	if err == nil && len(resp.Topics) != 1 {
		err = fmt.Errorf("%d answers", len(resp.Topics))
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		d.add(absent, what, fmt.Sprintf("topic %s does not exist", name), do)
		return 0
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		d.add(Fail, what, fmt.Sprintf("topic %s may not be seen", name), right(needs[0], name))
		return 0
	case err != nil:
		d.add(Fail, what, fmt.Sprintf("topic %s: %v", name, err), "look at the brokers")
		return 0
	}
	found := resp.Topics[0]
	n := int32(len(found.Partitions))
	if what == "input" {
		d.partitions, d.counted = n, "input "+name
	}
	replicas, short := math.MaxInt, 0
	for _, p := range found.Partitions {
		replicas = min(replicas, len(p.Replicas))
		if len(p.ISR) < len(p.Replicas) || p.Leader < 0 {
			short++
		}
	}
	d.add(OK, what, fmt.Sprintf("topic %s has %d partitions, %d replicas", name, n, replicas), "")
	if short > 0 {
		d.add(Warn, what, fmt.Sprintf("topic %s: %d partitions lack a leader or in-sync replicas", name, short), "look at the brokers")
	}
	for _, op := range needs {
		if rights := found.AuthorizedOperations; rights != math.MinInt32 && rights != 0 && rights&(1<<op) == 0 {
			level, without := Fail, ""
			if op == kmsg.ACLOperationDelete {
				level, without = Warn, ": what is processed stays there, and the topic grows"
			}
			d.add(level, "rights", fmt.Sprintf("the right %v on topic %s is missing%s", op, name, without), right(op, name))
		}
	}
	return n
}

func right(op kmsg.ACLOperation, topic string) string {
	return fmt.Sprintf("kafka-acls --add --allow-principal User:... --operation %v --topic %s", op, topic)
}

func (d *doctor) equal(what, name string, n int32, ok bool, do string) {
	if d.partitions > 0 && !ok {
		d.add(Fail, what, fmt.Sprintf("topic %s has %d partitions, %s has %d", name, n, d.counted, d.partitions), do)
	}
}

func (d *doctor) policy(ctx context.Context, what, name, want string) {
	configs, err := d.adm.DescribeTopicConfigs(ctx, name)
	if err == nil && len(configs) == 1 {
		err = configs[0].Err
	}
	if err != nil || len(configs) != 1 {
		d.add(Warn, what, fmt.Sprintf("settings of topic %s cannot be read: %v", name, err), right(kmsg.ACLOperationDescribeConfigs, name))
		return
	}
	have := value(configs[0].Configs, "cleanup.policy")
	if have != want {
		d.add(Fail, what, fmt.Sprintf("topic %s has cleanup.policy %q", name, have), fmt.Sprintf("kafka-configs --alter --topic %s --add-config cleanup.policy=%s", name, want))
		return
	}
	d.add(OK, what, fmt.Sprintf("topic %s has cleanup.policy %s", name, have), "")
}

func value(configs []kadm.Config, key string) string {
	for _, c := range configs {
		if c.Key == key {
			return c.MaybeValue()
		}
	}
	return ""
}
