package doctor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxSkew is how far the clocks may be apart: local state's age is judged by it, and timestamps of outputs.
const maxSkew = 5 * time.Second

func (d *doctor) group(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups, req.IncludeAuthorizedOperations = []string{name}, true
	resp, err := req.RequestWith(ctx, d.cl)
	if err == nil && len(resp.Groups) == 1 {
		err = kerr.ErrorForCode(resp.Groups[0].ErrorCode)
	}
	do := "kafka-acls --add --allow-principal User:... --operation Read --group " + name
	switch {
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		d.add(Fail, "rights", fmt.Sprintf("the right Read on group %s is missing", name), do)
	case err != nil && !errors.Is(err, kerr.GroupIDNotFound):
		d.add(Fail, "group", fmt.Sprintf("group %s: %v", name, err), "look at the brokers")
	case err == nil && len(resp.Groups) == 1:
		g := resp.Groups[0]
		if g.AuthorizedOperations > 0 && g.AuthorizedOperations&(1<<kmsg.ACLOperationRead) == 0 {
			d.add(Fail, "rights", fmt.Sprintf("the right Read on group %s is missing", name), do)
			return
		}
		d.add(OK, "group", fmt.Sprintf("group %s has %d members", name, len(g.Members)), "")
	default:
		d.add(OK, "group", fmt.Sprintf("group %s is new", name), "")
	}
}

// transactions asks for a producer id under the prefix of the application's own, and measures the brokers' clock by an
// empty transaction.
func (d *doctor) transactions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	id := d.App + "-doctor"
	cl, err := d.Connection.Client(ctx, kgo.TransactionalID(id), kgo.TransactionTimeout(d.TransactionTimeout))
	if err != nil {
		d.add(Fail, "transactions", err.Error(), "look at the brokers")
		return
	}
	defer cl.Close()
	pid, epoch, err := cl.ProducerID(ctx)
	switch {
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		d.add(Fail, "rights", fmt.Sprintf("the right Write on transactional ids %s-... is missing", d.App),
			fmt.Sprintf("kafka-acls --add --allow-principal User:... --operation Write --transactional-id %s- --resource-pattern-type prefixed", d.App))
		return
	case errors.Is(err, kerr.InvalidTransactionTimeout):
		d.add(Fail, "transactions", fmt.Sprintf("transaction timeout %v is longer than the brokers' transaction.max.timeout.ms%s", d.TransactionTimeout, d.maxTimeout(ctx)),
			"lower --transaction-timeout and --session-timeout, or raise the brokers'")
		return
	case err != nil:
		d.add(Fail, "transactions", fmt.Sprintf("producer id of %s: %v", id, err), "look at the brokers: transaction.state.log.replication.factor must not exceed their number")
		return
	}
	d.add(OK, "transactions", fmt.Sprintf("transactional ids may be used, with a timeout of %v%s", d.TransactionTimeout, d.maxTimeout(ctx)), "")
	d.clock(ctx, cl, id, pid, epoch)
}

func (d *doctor) maxTimeout(ctx context.Context) string {
	if len(d.brokerIDs) == 0 {
		return ""
	}
	configs, err := d.adm.DescribeBrokerConfigs(ctx, d.brokerIDs[0])
	if err != nil || len(configs) != 1 {
		return ""
	}
	ms, err := strconv.ParseInt(value(configs[0].Configs, "transaction.max.timeout.ms"), 10, 64)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (at most %v)", time.Duration(ms)*time.Millisecond)
}

// clock compares the time at which the coordinator says that a transaction began with this machine's.
func (d *doctor) clock(ctx context.Context, cl *kgo.Client, id string, pid int64, epoch int16) {
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = id, pid, epoch, id
	before := time.Now()
	resp, err := add.RequestWith(ctx, cl)
	after := time.Now()
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		d.add(Warn, "clock", fmt.Sprintf("not measured: %v", err), fmt.Sprintf("compare the clocks by hand; for this check: kafka-acls --add --allow-principal User:... --operation Read --group %s", id))
		return
	}
	defer func() {
		end := kmsg.NewPtrEndTxnRequest()
		end.TransactionalID, end.ProducerID, end.ProducerEpoch = id, pid, epoch
		_, _ = end.RequestWith(ctx, cl) // else it times out
	}()
	described, err := kadm.NewClient(cl).DescribeTransactions(ctx, id)
	began := described[id].StartTimestamp
	if err != nil || began <= 0 {
		d.add(Warn, "clock", fmt.Sprintf("not measured: %v", err), "compare the clocks by hand")
		return
	}
	at, skew := time.UnixMilli(began), time.Duration(0)
	if at.Before(before) {
		skew = before.Sub(at)
	} else if at.After(after) {
		skew = at.Sub(after)
	}
	level := OK
	if skew > maxSkew {
		level = Fail
	}
	d.add(level, "clock", fmt.Sprintf("this machine's clock and the broker's are at least %v apart", skew.Truncate(time.Millisecond)), "let both follow a time server (NTP)")
}
