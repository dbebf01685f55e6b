package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// endTxn is the key of the request that ends a transaction.
const endTxn = 26

// outcome is what happens to the end of a transaction.
type outcome int

const (
	doneAndCut   outcome = iota // the broker does it, the answer is lost
	undoneAndCut                // the request never arrives
	doneAndError                // the broker does it, the answer is an unknown error
)

// saboteur gives connections that spoil every fifth end of a transaction.
type saboteur struct {
	how     outcome
	ends    atomic.Int64
	spoiled atomic.Int64
}

func (s *saboteur) dial(ctx context.Context, network, host string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return &spoiledConn{Conn: c, s: s, marked: map[uint32]bool{}}, nil
}

// spoiledConn reads what goes over a connection: requests are written whole, one by one.
type spoiledConn struct {
	net.Conn
	s *saboteur

	mu      sync.Mutex
	marked  map[uint32]bool // correlation ids whose answer is to be spoiled
	pending []byte          // of the answer being read
	ready   []byte          // of the answer to hand out
}

var errCut = errors.New("connection cut by the test")

func (c *spoiledConn) Write(p []byte) (int, error) {
	if len(p) >= 12 && binary.BigEndian.Uint16(p[4:]) == endTxn && c.s.ends.Add(1)%5 == 0 {
		c.s.spoiled.Add(1)
		if c.s.how == undoneAndCut {
			c.Close()
			return 0, errCut
		}
		c.mu.Lock()
		c.marked[binary.BigEndian.Uint32(p[8:])] = true
		c.mu.Unlock()
	}
	return c.Conn.Write(p)
}

// Read hands out whole answers, spoiled where that is wanted.
func (c *spoiledConn) Read(p []byte) (int, error) {
	for len(c.ready) == 0 {
		if n := len(c.pending); n >= 4 && n >= 4+int(binary.BigEndian.Uint32(c.pending)) {
			size := 4 + int(binary.BigEndian.Uint32(c.pending))
			answer := c.pending[:size]
			c.pending = c.pending[size:]
			if err := c.spoil(answer); err != nil {
				return 0, err
			}
			c.ready = answer
			break
		}
		buf := make([]byte, 64<<10)
		n, err := c.Conn.Read(buf)
		c.pending = append(c.pending, buf[:n]...)
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, c.ready)
	c.ready = c.ready[n:]
	return n, nil
}

func (c *spoiledConn) spoil(answer []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(answer) < 15 || !c.marked[binary.BigEndian.Uint32(answer[4:])] {
		return nil
	}
	if c.s.how == doneAndCut {
		c.Close()
		return errCut
	}
	// size 4, correlation id 4, tags 1, throttle 4, error 2
	binary.BigEndian.PutUint16(answer[13:], 0xffff)
	return nil
}

// R3, F05: an end of a transaction whose outcome is not known is neither taken for a commit nor repeated.
func TestTheEndOfATransactionMayBeUnknown(t *testing.T) {
	t.Parallel()
	for how, name := range []string{"done, answer lost", "not done, cut", "done, unknown error"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := &saboteur{how: outcome(how)}
			cfg := w.config(t.TempDir())
			cfg.Dial, cfg.CommitInterval = s.dial, 20*time.Millisecond
			stop := w.start(cfg)
			feed := w.feed(50, 5*time.Millisecond)
			require.Eventually(t, func() bool { return s.spoiled.Load() >= 3 }, 60*time.Second, 10*time.Millisecond)
			feed()
			require.Equal(t, w.want, w.updates())
			stop()
			t.Logf("%d of %d ends spoiled", s.spoiled.Load(), s.ends.Load())
		})
	}
}
