package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// createTopic makes a topic of the load's partitions and waits until it can be used.
func (b *bench) createTopic(ctx context.Context, name string, compact bool) error {
	configs := map[string]*string{}
	if compact {
		policy := "compact"
		configs["cleanup.policy"] = &policy
	}
	b.topics = append(b.topics, name)
	r, err := kadm.NewClient(b.cl).CreateTopic(ctx, int32(b.cfg.Load.Partitions), -1, configs, name)
	if err = errors.Join(err, r.Err); err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	for {
		ends, err := kadm.NewClient(b.cl).ListEndOffsets(ctx, name)
		if err == nil && ends.Error() == nil && len(ends[name]) == b.cfg.Load.Partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// deleteTimeout bounds the cleaning up, which goes on after an interrupt.
const deleteTimeout = 20 * time.Second

// deleteTopics deletes the topics named, or all.
func (b *bench) deleteTopics(names ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), deleteTimeout)
	defer cancel()
	if len(names) == 0 {
		names = b.topics
	}
	if len(names) == 0 {
		return
	}
	rs, err := kadm.NewClient(b.cl).DeleteTopics(ctx, names...)
	for _, r := range rs {
		if r.Err != nil && !errors.Is(r.Err, kerr.UnknownTopicOrPartition) {
			err = errors.Join(err, fmt.Errorf("topic %s: %w", r.Topic, r.Err))
		}
	}
	if err != nil {
		b.cfg.Logger.Warn("topics are left behind", "error", err)
	}
}

// sizes are the bytes of topics' logs on the brokers, by topic; nothing where the brokers do not say.
func (b *bench) sizes(ctx context.Context, topics ...string) map[string]int64 {
	set := kadm.TopicsSet{}
	for _, t := range topics {
		for p := range b.cfg.Load.Partitions {
			set.Add(t, int32(p))
		}
	}
	dirs, err := kadm.NewClient(b.cl).DescribeAllLogDirs(ctx, set)
	if err != nil {
		b.cfg.Logger.Warn("the brokers do not tell the size of topics", "error", err)
	}
	sizes := map[string]int64{}
	dirs.Each(func(d kadm.DescribedLogDir) {
		d.Topics.Each(func(p kadm.DescribedLogDirPartition) { sizes[p.Topic] += p.Size })
	})
	return sizes
}
