package states

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Changelog reads a state's changelog, committed records only, up to where it ended at the call: transactions that are
// open there are waited for, so that nothing is missed that an instance may have answered.
type Changelog struct {
	Connection *kafka.Connection
	Topic      string
}

// Get implements Source. It reads the key's partition whole: the changelog has as many as the input, and the default
// partitioner chose it.
func (c *Changelog) Get(ctx context.Context, key []byte) (*Entry, error) {
	var found *Entry
	err := c.read(ctx, func(partitions int32) []int32 {
		p := kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: key}, int(partitions))
		return []int32{int32(p)}
	}, func(r *kgo.Record) {
		switch {
		case !bytes.Equal(r.Key, key):
		case r.Value == nil:
			found = nil
		default:
			found = &Entry{r.Partition, bytes.Clone(r.Key), bytes.Clone(r.Value)}
		}
	})
	return found, err
}

// List implements Source. It reads the whole changelog and keeps what the range calls for in memory.
func (c *Changelog) List(ctx context.Context, rng Range, fn func(*Entry)) (more bool, err error) {
	entries := map[string]*Entry{}
	err = c.read(ctx, func(partitions int32) []int32 {
		var all []int32
		for p := range partitions {
			all = append(all, p)
		}
		return all
	}, func(r *kgo.Record) {
		switch {
		case !bytes.HasPrefix(r.Key, rng.Prefix):
		case r.Value == nil:
			delete(entries, string(r.Key))
		default:
			entries[string(r.Key)] = &Entry{r.Partition, bytes.Clone(r.Key), bytes.Clone(r.Value)}
		}
	})
	if err != nil {
		return false, err
	}
	for n, key := range slices.Sorted(maps.Keys(entries)) {
		if rng.Limit > 0 && n == rng.Limit {
			return true, nil
		}
		fn(entries[key])
	}
	return false, nil
}

func (c *Changelog) read(ctx context.Context, choose func(partitions int32) []int32, each func(*kgo.Record)) error {
	cl, err := c.Connection.Client(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	partitions, err := kafka.Partitions(ctx, cl, c.Topic)
	if err != nil {
		return err
	}
	starts, err := kafka.Starts(ctx, cl, c.Topic)
	if err != nil {
		return err
	}
	ends, err := kafka.Written(ctx, cl, c.Topic)
	if err != nil {
		return err
	}
	from, to := kafka.Ends{}, kafka.Ends{}
	for _, p := range choose(partitions) {
		if starts[p] < ends[p] {
			from[p], to[p] = starts[p], ends[p]
		}
	}
	return c.Connection.ReadAll(ctx, c.Topic, from, to, each)
}
