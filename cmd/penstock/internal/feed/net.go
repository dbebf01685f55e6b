package feed

import (
	"context"
	"fmt"
	"io"
	"net"

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
			g.Go(func() error { return f.serve(ctx, conn, format) })
		}
	})
	return g.Wait()
}

func (f *Feed) serve(ctx context.Context, conn net.Conn, format Format) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	answer := func(line int, err error) { fmt.Fprintf(conn, "line %d: %v\n", line, err) }
	err := f.Read(ctx, Stream{Source: conn.RemoteAddr().String(), Format: format, Reader: hangUpIsEnd{conn}, Bad: answer})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// hangUpIsEnd makes a connection that breaks one that ends: the server serves the others.
type hangUpIsEnd struct{ net.Conn }

func (c hangUpIsEnd) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
