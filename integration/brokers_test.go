package integration

import (
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
)

// F22 on a cluster: the coordinators of the group and of the transactions move to other brokers, by death and by silence,
// and so do the leaders of the partitions. The same processes go on.
func TestTheCoordinatorsMayMove(t *testing.T) {
	brokers := kafkatest.StartCluster(t, 3)
	for _, topic := range []string{"transactions", "session-updates"} {
		brokers.CreateTopic(t, topic, 6)
	}
	c := clusterAt(t, "moved", brokers.Brokers...)
	members := []*process{c.member(0), c.member(1)}
	produce(t, append(c.common[:2:2], sample(t, 1000))...)
	fed := c.audit().Transactions

	const each = 20_000
	during := func(fault string, do func()) {
		t.Helper()
		wait := c.feeding(each, 15*time.Second)
		time.Sleep(3 * time.Second)
		do()
		wait()
		fed += each
		began := time.Now()
		require.Equal(t, fed, c.audit().Transactions, fault)
		t.Logf("%s: exact %v after the last transaction was sent", fault, time.Since(began).Round(100*time.Millisecond))
		for _, p := range members {
			p.running()
		}
	}
	killed := func(b *kafkatest.Broker) func() {
		return func() {
			b.Kill()
			time.Sleep(6 * time.Second)
			b.Restart()
		}
	}
	frozen := func(b *kafkatest.Broker) func() {
		return func() {
			b.Pause()
			time.Sleep(15 * time.Second)
			b.Unpause()
		}
	}
	during("the group's coordinator is killed", killed(brokers.GroupCoordinator(t, "moved")))
	during("a transaction's coordinator is killed", killed(brokers.TransactionCoordinator(t, "moved-member-0-0")))
	during("the group's coordinator falls silent", frozen(brokers.GroupCoordinator(t, "moved")))
	during("a transaction's coordinator falls silent", frozen(brokers.TransactionCoordinator(t, "moved-member-1-1")))
	during("the leaders of the partitions move", func() {
		for _, topic := range []string{"transactions", "session-updates", "moved-total-changelog"} {
			brokers.LeadAgain(t, topic)
		}
	})
	for _, p := range members {
		p.stop()
	}
}

// The broker forgets a transactional id that was silent for long, and the producer behind it. The process that wakes goes
// on under a new one.
func TestAnExpiredTransactionalIDIsNoEnd(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "expired", 4,
		kafkatest.WithConfig("transactional.id.expiration.ms", "3000"), kafkatest.WithConfig("transaction.remove.expired.transaction.cleanup.interval.ms", "500"),
		kafkatest.WithConfig("producer.id.expiration.ms", "3000"), kafkatest.WithConfig("producer.id.expiration.check.interval.ms", "500"))
	p := c.member(0)
	admin := c.broker.Admin(t)
	for round := 1; round <= 3; round++ {
		produce(t, append(c.common[:2:2], sample(t, 1000))...)
		require.Equal(t, 1000*round, c.audit().Transactions)
		require.Eventually(t, func() bool {
			listed, err := admin.ListTransactions(t.Context(), nil, nil)
			return err == nil && len(listed) == 0
		}, 60*time.Second, 200*time.Millisecond, "the broker forgets no transactional id")
		p.running()
	}
	p.stop()
}
