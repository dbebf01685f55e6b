package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
)

// Dial sends the lines of a line server until it ends the connection or ctx is done.
func (f *Feed) Dial(ctx context.Context, addr string, format Format) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", addr, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	err = f.Read(ctx, Stream{Source: addr, Format: format, Reader: conn})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Bounds of the wait before a line server is asked again.
const (
	dialAgainMin = 100 * time.Millisecond
	dialAgainMax = 10 * time.Second
)

// Follow is Dial again and again, until ctx is done or the brokers do not take a record. lost is told of each connection that
// ended or did not come about; err is nil where the server hung up.
func (f *Feed) Follow(ctx context.Context, addr string, format Format, lost func(err error, next time.Duration)) error {
	wait := dialAgainMin
	for {
		began := time.Now()
		err := f.Dial(ctx, addr, format)
		if ctx.Err() != nil {
			return nil
		}
		if failure := f.failure(); failure != nil {
			return failure
		}
		if time.Since(began) > dialAgainMax {
			wait = dialAgainMin
		}
		pause := wait/2 + rand.N(wait/2)
		lost(err, pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		wait = min(2*wait, dialAgainMax)
	}
}

// answerTimeout is how long a client may take for what is said of a bad line.
const answerTimeout = 5 * time.Second

// maxConnections bounds the connections that Serve reads at a time.
const maxConnections = 64

// Serve sends the lines that clients write to l until ctx is done. A bad line is answered with its number and what is
// wrong. It closes l.
func (f *Feed) Serve(ctx context.Context, l net.Listener, format Format) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxConnections + 1)
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	defer l.Close()
	g.Go(func() error {
		for {
			conn, err := l.Accept()
			if ctx.Err() != nil {
				if err == nil {
					conn.Close()
				}
				return nil
			}
			if err != nil {
				return fmt.Errorf("listen on %s: %w", l.Addr(), err)
			}
			if !g.TryGo(func() error { return f.serve(ctx, conn, format) }) {
				f.metrics.refused.Inc()
				refuse(conn)
			}
		}
	})
	return g.Wait()
}

// refuse tells a client that there are too many others: one that waited would not know why.
func refuse(conn net.Conn) {
	_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
	fmt.Fprintf(conn, "%d others are connected\n", maxConnections)
	conn.Close()
}

func (f *Feed) serve(ctx context.Context, conn net.Conn, format Format) error {
	f.metrics.clients.Inc()
	defer f.metrics.clients.Dec()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	answer := func(line int, err error) {
		_ = conn.SetWriteDeadline(time.Now().Add(answerTimeout))
		if _, err := fmt.Fprintf(conn, "line %d: %v\n", line, err); err != nil {
			conn.Close() // it does not read what is wrong with its lines
		}
	}
	err := f.Read(ctx, Stream{Source: conn.RemoteAddr().String(), Format: format, Reader: client{conn, f.cfg.IdleLimit}, Bad: answer})
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
		f.metrics.idle.Inc()
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		fmt.Fprintf(conn, "nothing came for %v\n", f.cfg.IdleLimit)
	}
	if ctx.Err() != nil || errors.Is(err, errBroken) {
		return nil // the server serves the others
	}
	return err
}

// errBroken says that a connection broke, and perhaps a line with it, which is not taken for a whole one.
var errBroken = errors.New("the connection broke")

// client is a connection whose end is told from its breaking, and that breaks when nothing comes for idle; 0: it never does.
type client struct {
	net.Conn
	idle time.Duration
}

func (c client) Read(p []byte) (int, error) {
	if c.idle > 0 {
		_ = c.SetReadDeadline(time.Now().Add(c.idle))
	}
	n, err := c.Conn.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}
