package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// What a transaction's coordinator is asked for. The client finds it, and asks again where it moved, or did not answer.

// versionsOf bounds what is asked by the cluster's transaction.version: KIP-890, which is version 2, knows no partition without a
// record, and no group without offsets, and needs no word before the first of them.
func versionsOf(v2 bool) *kversion.Versions {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3) // the later ones are for brokers
	if !v2 {
		versions.SetMaxKeyVersion(int16(kmsg.Produce), 11)
		versions.SetMaxKeyVersion(int16(kmsg.AddOffsetsToTxn), 3)
		versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
		versions.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	}
	return versions
}

// initProducer asks for a producer id, which fences the predecessor of the same transactional id, and ends its transaction. Without
// such an id it is just one.
func initProducer(ctx context.Context, cl *kgo.Client, cfg SessionConfig) (sender, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	if cfg.TransactionalID != "" {
		req.TransactionalID, req.TransactionTimeoutMillis = &cfg.TransactionalID, int32(cfg.TransactionTimeout.Milliseconds())
	}
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return sender{}, fmt.Errorf("producer id of %q: %w", cfg.TransactionalID, lacking(err, Write, "transactional-id", cfg.TransactionalID))
	}
	return sender{resp.ProducerID, resp.ProducerEpoch, cfg.TransactionalID != ""}, nil
}

// addPartitions makes partitions, by topic, a part of a transaction.
func addPartitions(ctx context.Context, cl *kgo.Client, transactionalID string, from sender, partitions map[string][]int32) error {
	if len(partitions) == 0 {
		return nil
	}
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = transactionalID, from.id, from.epoch
	for topic, numbers := range partitions {
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = topic, numbers
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	var fault error
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			err := kerr.ErrorForCode(p.ErrorCode)
			if err == nil || errors.Is(err, kerr.OperationNotAttempted) && fault != nil { // because of another one
				continue
			}
			fault = fmt.Errorf("add topic %s partition %d to the transaction: %w", t.Topic, p.Partition, lackingWithin(transactionalID, err, Write, "topic", t.Topic))
		}
	}
	return fault
}

// addGroup makes a group's offsets a part of a transaction.
func addGroup(ctx context.Context, cl *kgo.Client, transactionalID, group string, from sender) error {
	req := kmsg.NewPtrAddOffsetsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = transactionalID, from.id, from.epoch, group
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("add group %s to the transaction: %w", group, lackingWithin(transactionalID, err, Read, "group", group))
	}
	return nil
}

// endTransaction commits or aborts. Only without an error is it certain how the transaction ended (R3). It returns who is the sender of
// the next one.
func endTransaction(ctx context.Context, cl *kgo.Client, transactionalID string, from sender, commit bool) (sender, error) {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = transactionalID, from.id, from.epoch, commit
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err == nil && resp.Version >= 5 && resp.ProducerID >= 0 {
		from.id, from.epoch = resp.ProducerID, resp.ProducerEpoch
	}
	return from, err
}

// afterLast calls again while the broker refuses because the producer's last transaction is still ending.
func afterLast(ctx context.Context, call func() error) error {
	for pause := settleEvery; ; pause = min(2*pause, time.Second) {
		err := call()
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		if wait(ctx, pause) != nil {
			return err
		}
	}
}
