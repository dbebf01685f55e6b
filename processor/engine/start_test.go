package engine_test

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/processor/internal/worker"
)

// initProducerID is the key of the request for a producer id, the last of a start before the group is joined.
const initProducerID = 22

// absence cuts the connection at the first request for a producer id, and refuses others for a while.
type absence struct {
	until   atomic.Int64 // Unix nanoseconds; 0: not yet
	refused atomic.Int64
}

func (a *absence) dial(ctx context.Context, network, host string) (net.Conn, error) {
	if time.Now().UnixNano() < a.until.Load() {
		a.refused.Add(1)
		return nil, &net.OpError{Op: "dial", Net: network, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	c, err := new(net.Dialer).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return &absentConn{c, a}, nil
}

type absentConn struct {
	net.Conn
	a *absence
}

func (c *absentConn) Write(p []byte) (int, error) {
	if len(p) >= 6 && binary.BigEndian.Uint16(p[4:]) == initProducerID &&
		c.a.until.CompareAndSwap(0, time.Now().Add(2*time.Second).UnixNano()) {
		c.Close()
		return 0, errCut
	}
	return c.Conn.Write(p)
}

// F22: brokers that answer and then go away during a start are waited for like later ones.
func TestBrokersMayGoAwayDuringAStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := &absence{}
	cfg := w.config(t.TempDir())
	cfg.Dial = a.dial
	w.send(100)
	stop := w.start(cfg)
	require.Equal(t, w.want, w.updates())
	stop()
	require.Positive(t, a.refused.Load())
}

// Partitions that are taken over together are read by one fetch from the first one on: one that came later would wait for the
// answer to it, which the broker holds back while the others have nothing new.
func TestPartitionsTakenOverTogetherAreReadTogether(t *testing.T) {
	const partitions = 8
	var first []int
	for range 20 { // a busy machine may not open all tasks before the first one has waited long enough
		first = append(first, firstFetch(t, partitions))
		if first[len(first)-1] == partitions {
			return
		}
	}
	t.Fatalf("the first fetches asked for so many partitions: %v", first)
}

// firstFetch runs the window, and returns how many partitions its first fetch asks for.
func firstFetch(t *testing.T, partitions int) int {
	t.Helper()
	w := newWorldOf(t, int32(partitions))
	first := make(chan int, 1)
	w.cluster.ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		fetch := r.(*kmsg.FetchRequest)
		if fetch.SessionEpoch < 0 || len(fetch.Topics) == 0 { // a restore's, or one that asks for the same again
			return nil, nil, false
		}
		select {
		case first <- len(fetch.Topics[0].Partitions):
		default:
		}
		return nil, nil, false
	})
	var restored sync.WaitGroup
	restored.Add(partitions)
	cfg := w.config(t.TempDir()).WithStep(func(s worker.Step) error {
		if s == worker.Restored { // all at the same time
			restored.Done()
			restored.Wait()
		}
		return nil
	})
	cfg.Workers = 1
	stop := w.start(cfg)
	defer stop()
	return <-first
}
