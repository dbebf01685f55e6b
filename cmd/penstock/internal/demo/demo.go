// Package demo is the whole of Penstock in one process: an embedded broker, the engine, sample sessions, a view of their
// updates, and the audit of the result.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/cmd/penstock/internal/auditor"
	"github.com/penstock/penstock/cmd/penstock/internal/feed"
	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/cmd/penstock/internal/view"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/processor/session/audit"
)

// Config is a demo's.
type Config struct {
	Records    int    // of the sample
	Rate       int    // records a second; 0: as fast as it goes
	Seed       uint64 // of the sample
	Listen     net.Listener
	Idle       time.Duration // of the window
	BrokerPort int           // 0: any that is free

	View   view.View
	Logger *slog.Logger
	Say    func(format string, args ...any) // to the person
	Bad    func(source string, line int, err error)
}

// Names of the demo's application.
const (
	app    = "demo"
	input  = "transactions"
	output = "session-updates"
)

// Limits of the steps before and after the data.
const (
	startTimeout = 20 * time.Second
	drainTimeout = 60 * time.Second
	poll         = 10 * time.Millisecond
)

// Run runs the demo until the sample is processed or, with Listen, until ctx is done; then it stops the engine and audits.
func Run(ctx context.Context, cfg Config) (auditor.Report, error) {
	cluster, err := broker(cfg.BrokerPort)
	if err != nil {
		return auditor.Report{}, err
	}
	defer cluster.Close()
	dir, err := os.MkdirTemp("", "penstock-demo-")
	if err != nil {
		return auditor.Report{}, err
	}
	defer os.RemoveAll(dir)
	d := &demo{cfg: cfg, conn: &kafka.Connection{Brokers: cluster.ListenAddrs()}}

	// What ctx ends is the feeding. All else goes on until what was fed is processed.
	g, run := errgroup.WithContext(context.WithoutCancel(ctx))
	serve, stop := context.WithCancel(run)
	g.Go(func() error { return d.engine(serve, dir) })
	g.Go(func() error {
		defer stop()
		return d.drive(run, ctx)
	})
	if err := g.Wait(); err != nil {
		return auditor.Report{}, err
	}
	return auditor.Run(context.WithoutCancel(ctx), auditor.Config{Connection: d.conn, App: app, Output: output, Audit: audit.Config{Input: input, Idle: cfg.Idle > 0}})
}

func broker(port int) (*kfake.Cluster, error) {
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"})}
	if port != 0 {
		opts = append(opts, kfake.Ports(port))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	return cluster, nil
}

type demo struct {
	cfg  Config
	conn *kafka.Connection
}

func (d *demo) engine(ctx context.Context, dir string) error {
	window := session.Window(session.Config{ID: app, Input: input, Output: output, Idle: d.cfg.Idle})
	err := engine.Run(ctx, window, engine.Config{Brokers: d.conn.Brokers, StateDir: dir, CreateTopics: true, Logger: d.cfg.Logger})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // stopped while it started
	}
	return err
}

// drive feeds, shows, and waits for the end of the data.
func (d *demo) drive(run, interrupt context.Context) error {
	cl, err := d.conn.Client(run, feed.ClientOpts(nil)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := d.awaitTopics(run, cl); err != nil {
		return err
	}
	from, err := kafka.Starts(run, cl, output)
	if err != nil {
		return err
	}
	reader, err := d.conn.NewReader(run, output, from)
	if err != nil {
		return err
	}
	defer reader.Close()
	var end atomic.Pointer[kafka.Ends] // of the output, once it is known
	g, run := errgroup.WithContext(run)
	g.Go(func() error {
		return view.Follow(run, view.Following{Reader: reader, View: d.cfg.View,
			Until: func(at kafka.Ends) bool { e := end.Load(); return e != nil && at.Reach(*e) },
			Bad: func(r *kgo.Record, err error) {
				d.cfg.Say("output partition %d offset %d: %v", r.Partition, r.Offset, err)
			}})
	})
	g.Go(func() error {
		if err := d.feed(run, interrupt, cl); err != nil {
			return err
		}
		e, err := d.drain(run, cl)
		end.Store(&e)
		return err
	})
	return g.Wait()
}

// awaitTopics waits until the engine has made its topics.
func (d *demo) awaitTopics(run context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithTimeout(run, startTimeout)
	defer cancel()
	for _, topic := range []string{input, output, app + "-total-changelog", app + "-dead-letters"} {
		for {
			_, err := kafka.Partitions(ctx, cl, topic)
			if err == nil {
				break
			}
			if !errors.Is(err, kafka.ErrNoTopic) {
				return err
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the engine made no topic %s within %v", topic, startTimeout)
			case <-time.After(poll):
			}
		}
	}
	return nil
}

// feed sends the sample or what people type, until there is no more or interrupt is done.
func (d *demo) feed(run, interrupt context.Context, cl *kgo.Client) error {
	ctx, cancel := context.WithCancel(interrupt)
	defer cancel()
	defer context.AfterFunc(run, cancel)()
	rate := d.cfg.Rate
	if d.cfg.Listen != nil {
		rate = 0 // people type as fast as they can
	}
	f := feed.New(feed.Config{Client: cl, Topic: input, Output: feed.JSON, Rate: rate, Bad: d.cfg.Bad})
	var err error
	if d.cfg.Listen != nil {
		err = f.Serve(ctx, d.cfg.Listen, feed.CSV)
	} else {
		s := newSample(d.cfg.Seed)
		for i := 0; i < d.cfg.Records && err == nil && ctx.Err() == nil; i++ {
			key, value := s.next()
			err = f.Raw(context.WithoutCancel(ctx), key, value)
		}
	}
	if err != nil && interrupt.Err() == nil {
		return err
	}
	return f.Flush(run)
}

// drain waits until the input is processed and returns the output's end.
func (d *demo) drain(ctx context.Context, cl *kgo.Client) (kafka.Ends, error) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	target, err := kafka.StableEnds(ctx, cl, input)
	if err != nil {
		return nil, err
	}
	starts := kafka.Ends{}
	for p := range target {
		starts[p] = 0
	}
	for {
		at, err := auditor.Committed(ctx, cl, app, input, starts)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if err == nil && at.Reach(target) {
			return kafka.StableEnds(ctx, cl, output)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the engine has processed %v of %v within %v", at, target, drainTimeout)
		case <-time.After(poll):
		}
	}
}
