package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/statestore"
	"golang.org/x/sync/errgroup"
)

const (
	// tablePause is how long a table waits at its topic's end.
	tablePause = 100 * time.Millisecond
	// tableSeen is how often its topic is looked at: one that was recreated may hold nothing new to read.
	tableSeen = time.Second
	// tableDurable is how long rows wait to be durable at most; a crash reads them again.
	tableDurable = 10 * time.Second
	// tableReadBytes bounds one read and one batch for the store, tableReaders how many of them there are at a time.
	tableReadBytes = 1 << 20
	tableReaders   = 2

	rowState   = "row"
	strayState = "stray" // one key, if the partition holds rows that the default partitioner puts elsewhere
)

// ErrTableLoading says that a table has no answer, since it is being read anew.
var ErrTableLoading = errors.New("the table is being read from its topic")

// TableError is a fault of one table, or of its store.
type TableError struct {
	Topic string
	Err   error
}

func (e *TableError) Error() string { return fmt.Sprintf("table %s: %v", e.Topic, e.Err) }

func (e *TableError) Unwrap() error { return e.Err }

// TableConfig is what a table is made from.
type TableConfig struct {
	App       string
	Topic     string
	ClusterID string
	Cluster   *broker.Cluster // of its own: a fetch waits behind others of one client
	Store     statestore.Store
	Logger    *slog.Logger
	ReadBytes int32 // see Config; default: 1 MiB
	// Read is called after each read; its error ends Run. May be nil.
	Read func() error
	// DiskBytes is the size of the store's files, DiskLimit what it may be; 0: no limit.
	DiskBytes func() int64
	DiskLimit int64
}

// Table is a copy of a whole topic, in a store of its own: for each partition its rows and, in the same batch, the position
// they stand for. Run is called once; Lookup and await by any goroutine.
type Table struct {
	cfg    TableConfig
	view   atomic.Pointer[view] // nil while the copy is not complete
	stray  []atomic.Bool        // by partition; replaced while there is no view
	null   atomic.Bool          // a record without a key was told of
	mu     sync.Mutex
	opened chan struct{} // closed while there is a view
}

// view is a copy that is complete, until it is wiped.
type view struct {
	partitions int32
	stray      []atomic.Bool
}

// NewTable makes a table. It has no answer before Run has read the topic.
func NewTable(cfg TableConfig) *Table {
	if cfg.ReadBytes == 0 {
		cfg.ReadBytes = tableReadBytes
	}
	cfg.Logger = cfg.Logger.With("table", cfg.Topic)
	return &Table{cfg: cfg, opened: make(chan struct{})}
}

var placements = sync.Pool{New: func() any { return broker.NewPlacement() }}

// homeOf is the partition that the default partitioner would choose.
func homeOf(key []byte, partitions int32) int32 {
	placement := placements.Get().(*broker.Placement)
	defer placements.Put(placement)
	return placement.Of(key, partitions)
}

// Lookup returns the row of a key; the slice is the caller's. An error is ErrTableLoading, or a *TableError of the store.
func (t *Table) Lookup(key []byte) (value []byte, ok bool, err error) {
	v := t.view.Load()
	if v == nil {
		return nil, false, ErrTableLoading
	}
	home := homeOf(key, v.partitions)
	value, ok, err = t.get(home, key)
	for p := int32(0); !ok && err == nil && p < v.partitions; p++ {
		if p != home && v.stray[p].Load() {
			value, ok, err = t.get(p, key)
		}
	}
	switch {
	case err != nil:
		return nil, false, &TableError{t.cfg.Topic, err}
	case t.view.Load() != v: // wiped meanwhile: what was not found may be there
		return nil, false, ErrTableLoading
	}
	return value, ok, nil
}

func (t *Table) get(partition int32, key []byte) ([]byte, bool, error) {
	return t.cfg.Store.Get(nil, append(task.StatePrefix(partition, rowState), key...))
}

// Run reads the topic and then follows it until ctx is done. It returns nil then, else a *TableError: a right is missing, the
// store is of no more use, or the disk's limit is passed. All else it waits for; the copy goes on answering meanwhile.
func (t *Table) Run(ctx context.Context) error {
	for {
		err := t.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, new(*MismatchError)), errors.As(err, new(*limitError)), statestore.IsUnusable(err):
			return &TableError{t.cfg.Topic, err}
		}
		t.cfg.Logger.Warn("a table starts over", "error", err)
		if err := wait(ctx, retryMax); err != nil {
			return nil
		}
	}
}

// copying is one partition of the topic.
type copying struct {
	*run
	at task.Position
}

func (t *Table) follow(ctx context.Context) error {
	topic, parts, err := t.begin(ctx)
	if err != nil {
		return err
	}
	began, seen, durable := time.Now(), time.Now(), time.Now()
	for {
		if time.Since(seen) > tableSeen {
			seen = time.Now()
			if err := t.same(ctx, topic, parts[0].run); err != nil {
				return err
			}
		}
		read, err := t.pass(ctx, topic, parts)
		if err != nil {
			return err
		}
		if loaded := t.view.Load() == nil; loaded || time.Since(durable) > tableDurable {
			durable = time.Now()
			if err := parts[0].retry(ctx, "make the table durable", t.cfg.Store.Flush); err != nil {
				return err
			}
			if loaded {
				t.open(topic.Partitions)
				t.cfg.Logger.Info("table is complete", "records", read, "took", time.Since(began).Round(time.Millisecond))
			}
		}
		if err := wait(ctx, tablePause); err != nil {
			return err
		}
	}
}

// begin finds the topic, and where each partition's copy stands; what is none of the topic's is wiped.
func (t *Table) begin(ctx context.Context) (broker.Topic, []copying, error) {
	cfg := Config{App: t.cfg.App, States: []string{rowState}, ClusterID: t.cfg.ClusterID, Cluster: t.cfg.Cluster, Store: t.cfg.Store,
		Logger: t.cfg.Logger, ReadBytes: t.cfg.ReadBytes, BatchRecords: 1, Read: t.bounded, table: t}
	var topic broker.Topic
	find := newRun(cfg, 0)
	find.waits = "waiting for a table's topic"
	if err := find.retry(ctx, "describe the topic", func() (err error) {
		topic, err = t.cfg.Cluster.Topic(ctx, t.cfg.Topic)
		return err
	}); err != nil {
		return topic, nil, err
	}
	if topic.CleanupPolicy != "" && !strings.Contains(topic.CleanupPolicy, "compact") {
		topic.DeleteRetentionMs = 0 // it has no tombstones to purge
	}
	cfg.Changelogs = []broker.Topic{topic}
	identity := cfg.Identity(0)
	identity.Partitions = int(topic.Partitions)
	if v := t.view.Load(); v == nil || v.partitions != topic.Partitions {
		t.shut()
		t.stray = make([]atomic.Bool, topic.Partitions)
	}
	parts := make([]copying, topic.Partitions)
	for p := range parts {
		r := newRun(cfg, int32(p))
		r.waits = "waiting to read a table"
		at, err := r.local(ctx, identity)
		if err != nil {
			return topic, nil, err
		}
		_, stray, err := t.cfg.Store.Get(nil, task.StatePrefix(int32(p), strayState))
		if err != nil {
			return topic, nil, err
		}
		t.stray[p].Store(stray || t.stray[p].Load())
		parts[p] = copying{r, at}
	}
	return topic, parts, nil
}

// pass reads each partition up to its last stable offset, and returns how many records that were.
func (t *Table) pass(ctx context.Context, topic broker.Topic, parts []copying) (int64, error) {
	seen := time.Now()
	var bounds map[int32]broker.Bounds
	if err := parts[0].retry(ctx, "list offsets", func() (err error) {
		bounds, err = t.cfg.Cluster.Bounds(ctx, topic.Name)
		return err
	}); err != nil {
		return 0, err
	}
	if len(bounds) != len(parts) {
		return 0, fmt.Errorf("the topic has %d partitions, and had %d", len(bounds), len(parts))
	}
	var read atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(tableReaders)
	for p := range parts {
		group.Go(func() error {
			before := parts[p].restored
			err := parts[p].pass(ctx, bounds[int32(p)], seen)
			read.Add(parts[p].restored - before)
			return err
		})
	}
	err := group.Wait()
	return read.Load(), err
}

// pass reads one partition up to the last stable offset that was seen at a time.
func (c *copying) pass(ctx context.Context, b broker.Bounds, seen time.Time) error {
	if position := c.at.Changelogs[0]; position > b.HW || position > 0 && position < b.Start {
		return fmt.Errorf("partition %d lost records: the copy stands at offset %d, the topic holds %d to %d", c.partition, position, b.Start, b.HW)
	}
	if err := c.read(ctx, 0, &c.at, b.Start, b.LSO); err != nil {
		return err
	}
	if why := c.aged(c.at); why != "" {
		return errors.Join(fmt.Errorf("the copy is wiped: %s", why), c.wipe())
	}
	c.age, c.found = 0, seen
	if seen.Sub(time.UnixMilli(c.at.Time)) < followRefresh {
		return nil
	}
	c.at.Time = seen.UnixMilli()
	return c.touch(c.at)
}

// same fails when the topic is another one than it was.
func (t *Table) same(ctx context.Context, was broker.Topic, r *run) error {
	var now broker.Topic
	err := r.retry(ctx, "look at the topic", func() (err error) {
		now, err = t.cfg.Cluster.Seen(ctx, was.Name)
		return err
	})
	if err == nil && now.ID != was.ID {
		err = fmt.Errorf("the topic was recreated: its id was %s and is %s", was.ID, now.ID)
	}
	return err
}

// takes notes where a record lies that is to be copied, and returns false for one without a key, which is no row's.
func (t *Table) takes(b *statestore.Batch, partition int32, key []byte) bool {
	if key == nil {
		if t.null.CompareAndSwap(false, true) {
			t.cfg.Logger.Warn("the table's topic holds records without a key, which are passed over")
		}
		return false
	}
	if !t.stray[partition].Load() && homeOf(key, int32(len(t.stray))) != partition {
		b.Set(task.StatePrefix(partition, strayState), nil)
		t.stray[partition].Store(true)
	}
	return true
}

// limitError says that the copy is larger than it may be.
type limitError struct{ have, limit int64 }

func (e *limitError) Error() string {
	return fmt.Sprintf("its copy has %d bytes on disk, more than the limit of %d: raise engine.Config.TableDiskBytes, or keep less in the topic", e.have, e.limit)
}

// bounded is called after each read.
func (t *Table) bounded() error {
	if t.cfg.Read != nil {
		if err := t.cfg.Read(); err != nil {
			return err
		}
	}
	if t.cfg.DiskLimit == 0 {
		return nil
	}
	if have := t.cfg.DiskBytes(); have > t.cfg.DiskLimit {
		return &limitError{have, t.cfg.DiskLimit}
	}
	return nil
}

// open lets lookups in.
func (t *Table) open(partitions int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.view.Store(&view{partitions, t.stray})
	close(t.opened)
}

// shut keeps lookups out until the copy is complete again.
func (t *Table) shut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.view.Swap(nil) != nil {
		t.opened = make(chan struct{})
	}
}

// await returns when the copy is complete.
func (t *Table) await(ctx context.Context) error {
	t.mu.Lock()
	opened := t.opened
	t.mu.Unlock()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Tables are an application's. A nil one has none.
type Tables struct{ List []*Table }

// Lookup implements task.Tables.
func (t *Tables) Lookup(table int, key []byte) ([]byte, bool, error) {
	return t.List[table].Lookup(key)
}

// Await returns when all copies are complete.
func (t *Tables) Await(ctx context.Context) error {
	if t == nil {
		return nil
	}
	for _, table := range t.List {
		if err := table.await(ctx); err != nil {
			return err
		}
	}
	return nil
}
