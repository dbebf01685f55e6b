package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/cmd/penstock/internal/page"
)

// owners asks the group who owns which partitions of the input.
func (f *serviceFlags) owners(ctx context.Context) ([]page.Owner, error) {
	cl, err := f.conn.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	described, err := kadm.NewClient(cl).DescribeGroups(ctx, f.app)
	if err == nil {
		err = described.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", f.app, err)
	}
	owners := []page.Owner{}
	for _, m := range described[f.app].Members {
		o := page.Owner{Instance: m.MemberID, Host: m.ClientHost}
		if m.InstanceID != nil {
			o.Instance = *m.InstanceID
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				if t.Topic == f.keyed() {
					o.Partitions = append(o.Partitions, t.Partitions...)
				}
			}
		}
		owners = append(owners, o)
	}
	return owners, nil
}

const (
	// latestWithin is how many offsets of a partition are looked through for a session's latest updates.
	latestWithin = 20_000
	// latestUpdates is how many of them are shown.
	latestUpdates = 10
)

// latest reads a session's latest updates from the end of its partition of the output, the newest first.
func (f *serviceFlags) latest(ctx context.Context, session string) ([]page.Update, error) {
	cl, err := f.conn.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	starts, err := kafka.Starts(ctx, cl, f.output)
	if err != nil {
		return nil, err
	}
	ends, err := kafka.StableEnds(ctx, cl, f.output)
	if err != nil {
		return nil, err
	}
	key := []byte(session)
	partition := int32(kgo.StickyKeyPartitioner(nil).ForTopic(f.output).Partition(&kgo.Record{Key: key}, len(ends)))
	from := max(starts[partition], ends[partition]-latestWithin)
	updates := []page.Update{}
	err = f.conn.ReadAll(ctx, f.output, kafka.Ends{partition: from}, kafka.Ends{partition: ends[partition]}, func(r *kgo.Record) {
		if string(r.Key) != session {
			return
		}
		if len(updates) == latestUpdates {
			updates = updates[1:]
		}
		updates = append(updates, page.Update{Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Value: string(r.Value)})
	})
	slices.Reverse(updates)
	return updates, err
}
