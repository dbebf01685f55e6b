package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// layout is where the partitions of topics are. It does not change.
type layout struct {
	topics map[string]topicLayout
	since  time.Time
}

type topicLayout struct {
	id      [16]byte // zero: the brokers tell none
	leaders []int32  // by partition; -1: none
	err     error
}

// layoutAge is after which time added partitions are looked for.
const layoutAge = 5 * time.Minute

func (l *layout) old() bool { return time.Since(l.since) > layoutAge }

// leader is a partition's, -1 where none is known.
func (l *layout) leader(part *outPartition) int32 {
	if ls := l.topics[part.topic.name].leaders; int(part.number) < len(ls) {
		return ls[part.number]
	}
	return -1
}

// fault is why a partition is not known, if it is not.
func (l *layout) fault(topic string, partition int32) error {
	at := l.topics[topic]
	if int(partition) < len(at.leaders) {
		return nil
	}
	return cmp.Or(at.err, error(kerr.UnknownTopicOrPartition))
}

// errAnew says that what was written to a topic is gone with it.
var errAnew = errors.New("the topic was deleted and created anew")

// look asks where the partitions are of all topics that are written to. A topic that became another one meanwhile is an error.
func (p *producer) look(ctx context.Context, more ...string) error {
	names := map[string]bool{}
	for _, name := range append(more, p.cfg.Writes...) {
		names[name] = true
	}
	before := p.layout.Load()
	if before != nil {
		for name := range before.topics {
			names[name] = true
		}
	}
	resp, err := metadataOf(slices.Collect(maps.Keys(names))...).RequestWith(ctx, p.cl)
	if err != nil {
		return err
	}
	l := &layout{topics: map[string]topicLayout{}, since: time.Now()}
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		at := topicLayout{id: t.TopicID, err: kerr.ErrorForCode(t.ErrorCode), leaders: make([]int32, len(t.Partitions))}
		for i := range at.leaders {
			at.leaders[i] = -1
		}
		for _, part := range t.Partitions {
			if int(part.Partition) < len(at.leaders) {
				at.leaders[part.Partition] = part.Leader
			}
		}
		if before != nil {
			switch was := before.topics[*t.Topic].id; {
			case at.id == [16]byte{}:
				at.id = was // it may come back as another one
			case was != at.id && was != [16]byte{}:
				return fmt.Errorf("topic %s: %w", *t.Topic, errAnew)
			}
		}
		l.topics[*t.Topic] = at
	}
	p.layout.Store(l)
	return nil
}

// know finds out how many partitions a topic has.
func (p *producer) know(ctx context.Context, t *outTopic) error {
	for tries, pause := 1, pauseFirst; ; tries, pause = tries+1, min(2*pause, pauseLongest) {
		if l := p.layout.Load(); l != nil && len(l.topics[t.name].leaders) > 0 {
			t.count = int32(len(l.topics[t.name].leaders))
			return nil
		}
		err := p.look(ctx, t.name)
		if err == nil {
			if err = p.layout.Load().fault(t.name, 0); err == nil {
				continue
			}
		}
		err = fmt.Errorf("topic %s: %w", t.name, p.lacks(err, t.name))
		if lasts := p.lasting(err); lasts != nil {
			return lasts
		}
		if IsUnknownTopic(err) && tries >= unknownTries {
			return err
		}
		if ended := wait(ctx, pause); ended != nil {
			return p.overdue(ended)
		}
	}
}
