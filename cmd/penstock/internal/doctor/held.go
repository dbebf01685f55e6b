package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// sweep is how much longer than its time-out a transaction may last: brokers look for those every 10 s by default.
	sweep     = 12 * time.Second
	heldEvery = 200 * time.Millisecond
	// offsetsTopic is where the brokers keep committed offsets.
	offsetsTopic = "__consumer_offsets"
)

// place is a partition whose committed offset a group has.
type place struct {
	group, topic string
	partition    int32
}

// held finds committed offsets whose transaction does not end: no process gets past one (R5), however often it is started. An
// open transaction alone is ordinary, of a process that commits or that died; only one that outlasts its time-out is named.
func (d *doctor) held(ctx context.Context) {
	limit := d.TransactionTimeout + sweep
	ctx, cancel := context.WithTimeout(ctx, limit+checkTimeout)
	defer cancel()
	var open []place
	for began := time.Now(); ; {
		unstable, err := d.unstable(ctx)
		if err != nil {
			d.add(Warn, "offsets", fmt.Sprintf("not checked: %v", err), "look at the brokers, and at the right Read on the group")
			return
		}
		lasted := time.Since(began)
		if open == nil {
			open = unstable
		}
		// Another transaction than the last one's may be open, but not at each of so many questions.
		open = slices.DeleteFunc(open, func(p place) bool { return !slices.Contains(unstable, p) })
		if len(open) == 0 {
			d.add(OK, "offsets", "no transaction holds a committed offset", "")
			return
		}
		if lasted > limit {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(heldEvery):
		}
	}
	for _, p := range open {
		d.add(Fail, "offsets", fmt.Sprintf("the transaction on the committed offset of topic %s partition %d, group %s, is open for longer than its time-out %v and %v",
			p.topic, p.partition, p.group, d.TransactionTimeout, sweep), d.wayOut(ctx, p.group))
	}
}

// unstable are the offsets that a transaction which has not ended commits.
func (d *doctor) unstable(ctx context.Context) (list []place, err error) {
	for _, group := range d.groups() {
		offsets, err := d.adm.FetchOffsets(kadm.RequireStable(ctx), group)
		if errors.Is(err, kerr.GroupIDNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			if errors.Is(o.Err, kerr.UnstableOffsetCommit) {
				list = append(list, place{group, o.Topic, o.Partition})
			}
		})
	}
	slices.SortFunc(list, func(a, b place) int {
		return cmp.Or(strings.Compare(a.group, b.group), strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
	})
	return list, nil
}

// wayOut names whose transaction it is, where the brokers tell. It is not aborted: were it a committed one whose end the
// brokers forgot, what it counted would be counted again.
func (d *doctor) wayOut(ctx context.Context, group string) string {
	const start = "start the process that wrote it once more, under its --instance, which ends what it left; see RUNBOOK.md, Held"
	topics, err := d.adm.ListTopics(ctx, offsetsTopic)
	n := len(topics[offsetsTopic].Partitions)
	if err != nil || n == 0 {
		return start
	}
	partition := offsetsPartition(group, n)
	described, err := d.adm.DescribeProducers(ctx, kadm.TopicsSet{offsetsTopic: {partition: {}}})
	if err != nil {
		return start
	}
	var open []int64
	for _, p := range described.SortedProducers() {
		if p.CurrentTxnStartOffset >= 0 {
			open = append(open, p.ProducerID)
		}
	}
	if len(open) == 0 {
		return start
	}
	listed, err := d.adm.ListTransactions(ctx, open, nil)
	if ids := listed.TransactionalIDs(); err == nil && len(ids) > 0 {
		return "of transactional id " + strings.Join(ids, " or ") + ": " + start
	}
	return start
}

// offsetsPartition is where the brokers keep a group's offsets: by Java's hash of its name, as GroupCoordinator.partitionFor.
func offsetsPartition(group string, partitions int) int32 {
	var h int32
	for _, unit := range utf16.Encode([]rune(group)) {
		h = 31*h + int32(unit)
	}
	return h & 0x7fffffff % int32(partitions)
}
