package engine_test

import (
	"context"
	"encoding/binary"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
