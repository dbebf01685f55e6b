package engine_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// careless is a coordinator that calls every fifth transaction complete without a word to its partitions, and loses its connection, as
// Kafka 4 does where a broker dies that leads them alone (KAFKA-20734). What is sent next under the id decides.
type careless struct {
	t    *testing.T
	mu   sync.Mutex
	ends int
	lost map[string]*kmsg.EndTxnRequest // by transactional id: the end that was not told
	told int                            // ends that were said again
}

var errAway = errors.New("the broker is away")

func (w *world) careless() *careless {
	c := &careless{t: w.t, lost: map[string]*kmsg.EndTxnRequest{}}
	for key, answer := range map[kmsg.Key]func(kmsg.Request) (kmsg.Response, error, bool){
		kmsg.EndTxn: c.end, kmsg.DescribeTransactions: c.describe, kmsg.InitProducerID: c.init,
	} {
		w.cluster.ControlKey(int16(key), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			c.mu.Lock()
			defer c.mu.Unlock()
			return answer(req)
		})
	}
	return c
}

func (c *careless) end(req kmsg.Request) (kmsg.Response, error, bool) {
	end := req.(*kmsg.EndTxnRequest)
	if lost := c.lost[end.TransactionalID]; lost != nil {
		if end.Commit != lost.Commit {
			c.t.Errorf("a transaction that was committed: %v ends with committed: %v", lost.Commit, end.Commit)
		}
		delete(c.lost, end.TransactionalID)
		c.told++
		return nil, nil, false
	}
	if c.ends++; c.ends%5 != 0 {
		return nil, nil, false
	}
	c.lost[end.TransactionalID] = end
	return nil, errAway, true
}

func (c *careless) describe(req kmsg.Request) (kmsg.Response, error, bool) {
	answer := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	id := req.(*kmsg.DescribeTransactionsRequest).TransactionalIDs[0]
	lost := c.lost[id]
	if lost == nil {
		return nil, nil, false
	}
	state := kmsg.NewDescribeTransactionsResponseTransactionState()
	state.TransactionalID, state.State = id, "CompleteCommit"
	answer.TransactionStates = append(answer.TransactionStates, state)
	return answer, nil, true
}

// init leaves the transaction open, which the broker under this one would abort.
func (c *careless) init(req kmsg.Request) (kmsg.Response, error, bool) {
	answer := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	id := req.(*kmsg.InitProducerIDRequest).TransactionalID
	if id == nil || c.lost[*id] == nil {
		return nil, nil, false
	}
	lost := c.lost[*id]
	answer.ProducerID, answer.ProducerEpoch = lost.ProducerID, lost.ProducerEpoch
	return answer, nil, true
}

// R3: the end of a transaction that the coordinator lost is said again before the next one begins.
func TestAnEndThatGotLostIsSaidAgain(t *testing.T) {
	w := newWorld(t)
	c := w.careless()
	cfg := w.config(t.TempDir())
	cfg.CommitInterval = 20 * time.Millisecond
	stop := w.start(cfg)
	feed := w.feed(50, 5*time.Millisecond)
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.told >= 5 }, 60*time.Second, 10*time.Millisecond)
	feed()
	require.Equal(t, w.want, w.updates())
	stop()
	t.Logf("%d ends of %d were said again", c.told, c.ends)
}
