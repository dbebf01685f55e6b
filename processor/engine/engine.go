package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/member"
	"github.com/penstock/penstock/processor/internal/query"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/statedir"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/telemetry"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/internal/tracing"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/pebblestore"
	"golang.org/x/sync/errgroup"
)

// Limits of a start and a stop.
const (
	reachTimeout = 6 * time.Second  // to find a broker
	startTimeout = 30 * time.Second // of the checks before the group is joined
	stopTimeout  = 6 * time.Second  // to finish the transactions and leave; then everything is cut
	startRetry   = time.Second      // between two tries of a start that the brokers' absence cut short
	topicPoll    = 50 * time.Millisecond
)

// runOne runs one application: an App, or one that fills an internal topic of it.
func runOne(ctx context.Context, topo *topology.Topology, cfg Config) error {
	cfg.Logger = cfg.Logger.With("app", topo.ID)
	e := &engine{topo: topo, cfg: cfg, counters: &worker.Counters{Outputs: make([]atomic.Int64, len(topo.Outputs)), Removes: make([]atomic.Int64, len(topo.States))}, monitor: cfg.Monitor.inner()}
	if err := e.whenRoom(ctx, e.openDir); err != nil || e.dir == nil {
		return err
	}
	defer e.dir.Close()
	e.monitor.Start(topo.ID, e.instance, counts(e.counters, topo))
	stopping := context.AfterFunc(ctx, e.monitor.Stopping)
	defer stopping()
	for {
		err := e.run(ctx)
		if ctx.Err() != nil && !errors.As(err, new(*worker.Fatal)) {
			return nil // whatever a start or stop that was cut short says
		}
		switch {
		case errors.As(err, new(*restore.TableError)) && statestore.IsUnusable(err):
			if err := e.dropTable(err); err != nil {
				return err
			}
		case errors.Is(err, statestore.ErrReopen):
			cfg.Logger.Warn("the local store is opened again", "error", err)
		case statestore.IsCorrupt(err):
			aside, asideErr := e.dir.SetAside()
			if asideErr != nil {
				return errors.Join(err, asideErr)
			}
			cfg.Logger.Error("the local store is damaged; it is set aside and rebuilt from the changelog", "error", err, "aside", aside)
		case e.reached && broker.IsAway(err): // they answered once, so it is no fault of the configuration
			cfg.Logger.Warn("the brokers went away during the start, which is tried again", "error", err)
			if pause(ctx, startRetry) != nil {
				return nil
			}
		default:
			return err
		}
	}
}

// engine is one process's run of an application.
type engine struct {
	topo     *topology.Topology
	cfg      Config
	dir      *statedir.Dir
	instance string
	counters *worker.Counters
	monitor  *telemetry.Monitor
	reached  bool // a broker has answered
	producer int  // highest worker number ever used here, the count of transactional ids to end (R13)
}

// Of a disk that is full at a start: how often it is tried again, and said.
const (
	spaceRetry  = 500 * time.Millisecond
	spaceReport = 10 * time.Second
)

// whenRoom does what needs room on the disk, as soon as there is some (R8). It returns nil when ctx is done before.
func (e *engine) whenRoom(ctx context.Context, do func() error) error {
	for said := (time.Time{}); ; {
		err := do()
		if !statestore.IsNoSpace(err) {
			return err
		}
		if time.Since(said) > spaceReport {
			said = time.Now()
			e.cfg.Logger.Error("the disk of the state directory is full: the start waits until there is room", "error", err)
		}
		if pause(ctx, spaceRetry) != nil {
			return nil
		}
	}
}

// openDir takes the state directory and settles who this process is.
func (e *engine) openDir() error {
	dir, err := statedir.Open(e.cfg.StateDir, e.topo.ID)
	if err != nil {
		return err
	}
	e.dir = dir
	if err := e.identify(); err != nil {
		e.dir = nil
		return errors.Join(err, dir.Close())
	}
	return nil
}

// identify settles the instance id and the workers' ids, and keeps them in the directory.
func (e *engine) identify() error {
	id := e.dir.Identity()
	if e.cfg.Instance != "" {
		id.Instance = e.cfg.Instance
	}
	id.App = e.topo.ID
	id.Workers = max(id.Workers, e.cfg.Workers)
	e.instance, e.producer = id.Instance, id.Workers
	return e.dir.SaveIdentity(id)
}

func (e *engine) run(ctx context.Context) error {
	cluster, ts, clusterID, err := e.start(ctx)
	if err != nil {
		return err
	}
	defer cluster.Close()
	var store *pebblestore.Store
	err = e.whenRoom(ctx, func() (err error) { store, err = e.openStore(); return err })
	if err != nil {
		return fmt.Errorf("open the store in %s: %w", e.dir.StorePath(), err)
	}
	if store == nil {
		return ctx.Err()
	}
	e.monitor.Opened(sizes(store))
	defer e.monitor.Opened(nil)
	tables, closeTables, err := e.openTables(ctx, clusterID)
	if err == nil {
		err = e.process(ctx, cluster, ts, clusterID, store, tables)
		closeTables()
	}
	if closeErr := store.Close(); err == nil && closeErr != nil && ctx.Err() == nil {
		err = closeErr
	}
	return err
}

func (e *engine) openStore() (*pebblestore.Store, error) {
	o := pebblestore.Options{MemoryBytes: e.cfg.MemoryBytes / 2, Logger: e.cfg.Logger}
	if e.cfg.openStore != nil {
		return e.cfg.openStore(e.topo.ID, o)
	}
	return pebblestore.Open(e.dir.StorePath(), o)
}

// start reaches the brokers and checks the topics (R10).
func (e *engine) start(ctx context.Context) (*broker.Cluster, topics, string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	reach, cancelReach := context.WithTimeout(ctx, reachTimeout)
	defer cancelReach()
	cluster, err := broker.Connect(reach, e.cfg.broker(e.topo.ID+"-"+e.instance))
	if err != nil {
		return nil, topics{}, "", err
	}
	e.reached = true
	clusterID, err := cluster.ID(ctx)
	if err == nil {
		var ts topics
		if ts, err = findTopics(ctx, cluster, e.topo, e.cfg); err == nil {
			return cluster, ts, clusterID, nil
		}
	}
	cluster.Close()
	return nil, topics{}, "", err
}

// process runs the workers and the membership until ctx is done or one of them cannot go on.
func (e *engine) process(ctx context.Context, cluster *broker.Cluster, ts topics, clusterID string, store statestore.Store, tables *restore.Tables) error {
	var group *member.Group
	joined := make(chan struct{})
	membership := func() broker.Membership { <-joined; return group.Membership() }
	flusher := worker.NewFlusher(store, e.counters, e.cfg.flushInterval, e.cfg.Logger)
	wcfg := worker.Config{
		Topology: e.topo, Cluster: cluster, Flusher: flusher, Tables: tables, Limits: ts.limits(), BadInput: task.BadInput(e.cfg.BadInput),
		Cache: worker.NewCacheBudget(int(e.cfg.MemoryBytes / 2)), CommitInterval: e.cfg.CommitInterval,
		Membership: membership, Epoch: func(p int32) uint64 { <-joined; return group.Epoch(p) },
		Held: func(ctx context.Context, p int32, epoch uint64) (bool, error) {
			<-joined
			return group.Held(ctx, p, epoch)
		},
		Out:    func(ctx context.Context) bool { <-joined; return group.Out(ctx) },
		Logger: e.cfg.Logger, Counters: e.counters, Monitor: e.monitor, Tracer: tracing.New(e.cfg.Tracer, e.cfg.TraceRatio, e.topo.ID), Ready: e.cfg.Ready, Step: e.cfg.step, FreezeInterval: e.cfg.flushInterval,
		Restore: restore.Config{App: e.topo.ID, States: e.topo.States, ClusterID: clusterID, Cluster: cluster,
			Inputs: ts.inputs, Changelogs: ts.changelogs, Store: store, Loose: e.cfg.Guarantee == AtLeastOnce, FromEnd: e.cfg.From == FromEnd, Internal: e.topo.Internal,
			Logger: e.cfg.Logger, Membership: membership, ReadBytes: e.cfg.readBytes, BatchRecords: int(e.cfg.readBytes / 64)},
		Session: broker.SessionConfig{TransactionTimeout: e.cfg.TransactionTimeout, Inputs: ts.inputs, Group: e.topo.ID, Writes: e.topo.Writes(),
			BatchBytes: ts.batchBytes, Sessions: e.cfg.Workers},
	}
	if n := wcfg.Restore.MarkBytes(); n > markBytes {
		return fmt.Errorf("application %s has too many or too long names of states and inputs: the mark in its offsets would have %d bytes, and brokers take %d", e.topo.ID, n, markBytes)
	}
	workers, err := e.openWorkers(ctx, wcfg, cluster)
	if err != nil {
		return err
	}
	// hard ends what does not end by itself.
	hard, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	flushCtx, stopFlush := context.WithCancel(context.Background())
	flushed := make(chan struct{})
	go func() { defer close(flushed); flusher.Run(flushCtx) }()
	defer func() { stopFlush(); <-flushed }()

	run, soft := errgroup.WithContext(ctx)
	for _, w := range workers {
		run.Go(func() error { return w.Run(hard) })
	}
	for _, t := range tables.List {
		run.Go(func() error { return t.Run(soft) })
	}
	var holders []member.Holder
	for _, w := range workers {
		holders = append(holders, w)
	}
	standbys := member.NewStandbys(e.cfg.Standby, func(ctx context.Context, p int32) error {
		return restore.Follow(ctx, wcfg.Restore, p, func(int64) {})
	})
	group, err = member.Join(member.Config{Taking: standbys.Stop, Cluster: cluster, Group: e.topo.ID, InstanceID: e.instance, Topic: ts.inputs[0].Name,
		Partitions: ts.inputs[0].Partitions, SessionTimeout: e.cfg.SessionTimeout, Advertise: e.cfg.Advertise, Have: wcfg.Restore.Have, Holders: holders, Joined: e.monitor.Joined, Logger: e.cfg.Logger})
	if err != nil {
		cut()
		return errors.Join(err, run.Wait())
	}
	close(joined)
	defer e.cfg.Queries.serve(query.Config{Topology: e.topo, Partitions: ts.inputs[0].Partitions, Instance: e.instance, Group: group, Cluster: cluster, Store: store})()
	if e.cfg.Standby > 0 {
		run.Go(func() error { return standbys.Run(soft, group) })
	}
	for _, input := range ts.inputs {
		if e.topo.IsInternal(input.Name) {
			run.Go(func() error { e.purge(soft, cluster, group, input); return nil })
		}
	}
	run.Go(func() error { e.monitor.Watch(soft, e.topo.Inputs, cluster.Bounds); return nil })
	run.Go(func() error {
		err := group.Watch(soft)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		defer context.AfterFunc(stop, cut)() // Leave waits for commits, which wait for the brokers
		group.Leave(stop, e.cfg.Stay)
		cut()
		if soft.Err() != nil {
			return nil
		}
		return err
	})
	return run.Wait()
}

// markBytes bounds the metadata of an offset, as brokers do by default (offset.metadata.max.bytes): some 50 states.
const markBytes = 4096

// openWorkers makes the workers and asks for the producer ids of all of them, and of those that ran here before, which
// ends dead transactions before the group is joined (R13).
func (e *engine) openWorkers(ctx context.Context, cfg worker.Config, cluster *broker.Cluster) ([]*worker.Worker, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var workers []*worker.Worker
	open, ctx := errgroup.WithContext(ctx)
	for n := range e.producer {
		c := cfg
		c.Name = fmt.Sprintf("%s-%s-%d", e.topo.ID, e.instance, n)
		if e.cfg.Guarantee == ExactlyOnce {
			c.Session.TransactionalID = c.Name
		}
		if n < e.cfg.Workers {
			w := worker.New(c)
			workers = append(workers, w)
			open.Go(func() error { return w.Open(ctx) })
			continue
		}
		open.Go(func() error {
			s, err := cluster.NewSession(ctx, c.Session)
			if err == nil {
				s.Close()
			}
			return err
		})
	}
	if err := open.Wait(); err != nil {
		for _, w := range workers {
			w.Close()
		}
		return nil, err
	}
	return workers, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
