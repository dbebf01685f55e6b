package broker

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// quotas says in the log that a broker's quota holds a client up, now and then while it does.
type quotas struct {
	log  *slog.Logger
	said atomic.Int64 // Unix nanoseconds
}

const (
	// throttledFor is the shortest wait that is worth a word.
	throttledFor = 100 * time.Millisecond
	saidEvery    = time.Minute
)

var _ kgo.HookBrokerThrottle = (*quotas)(nil)

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (q *quotas) OnBrokerThrottle(meta kgo.BrokerMetadata, wait time.Duration, _ bool) {
	now, last := time.Now().UnixNano(), q.said.Load()
	if wait < throttledFor || now-last < int64(saidEvery) || !q.said.CompareAndSwap(last, now) {
		return
	}
	q.log.Warn("a quota of the brokers holds this process up", "broker", brokerName(meta), "wait", wait.Round(time.Millisecond))
}
