// Package restore takes a task over (R5): it finds where the input goes on, checks that the offset, the changelog and
// the local state belong together (R6), and reads into the store what it lacks.
package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/telemetry"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// Config is what the tasks of one application share.
type Config struct {
	App        string
	States     []string
	ClusterID  string
	Cluster    *broker.Cluster
	Inputs     []broker.Topic
	Changelogs []broker.Topic // by state
	Store      statestore.Store
	Loose      bool     // at least once: a changelog may hold what no committed offset knows of
	FromEnd    bool     // where a task without a committed offset begins
	Internal   []string // inputs that the application itself fills: these begin at their start in any case
	Logger     *slog.Logger
	// Progress is told how far a restore is. May be nil.
	Progress func(telemetry.Restore)
	// Read is called after each read of a changelog; its error is the restore's. May be nil.
	Read func() error
	// Of one read and of one batch for the store. Default: a part of what all of the process's may take, and 64 Ki records.
	ReadBytes    int32
	BatchRecords int
	// Membership is who commits a first offset.
	Membership func() broker.Membership

	table *Table // whose topic is read, in place of a changelog; nil for a task
}

// MismatchError says that things which should belong together do not (R6): nothing was changed.
type MismatchError struct{ What string }

func (e *MismatchError) Error() string { return e.What }

// Limits of the waits here.
const (
	retryMin    = 10 * time.Millisecond
	retryMax    = time.Second
	reportAfter = 5 * time.Second
	// batchRecords bounds one batch for the store, in changelog records.
	batchRecords = 64 << 10
	// What all reads of the process, and their batches, may take together, and what one of them has at least and at most. What is read is
	// packed: of small records it is twenty times as much in memory.
	allBytes   = 4 << 20
	leastBytes = 256 << 10
	mostBytes  = 2 << 20
	// ageMargin is how much younger than the changelog's delete.retention.ms local state must be (R7).
	ageMargin = 10 * time.Minute
)

// Result is a task ready to run.
type Result struct {
	Identity task.Identity
	Mark     Mark
	Position task.Position
	Epochs   []broker.Epoch // by input: of the offset where it goes on
	Restored int64          // changelog records read
}

// Task takes over one partition. It returns a *MismatchError, an error of the store, or ctx's; it retries all else.
func Task(ctx context.Context, cfg Config, partition int32) (Result, error) {
	r := newRun(cfg, partition)
	inputs, epochs, mark, err := r.inputs(ctx)
	if err != nil {
		return Result{}, err
	}
	identity := cfg.Identity(mark.Incarnation)
	for {
		at, err := r.local(ctx, identity)
		if err != nil {
			return Result{}, err
		}
		if err := r.ahead(at, inputs); err != nil {
			return Result{}, err
		}
		at.Inputs = inputs
		began := time.Now()
		for state := range cfg.Changelogs {
			if err := r.changelog(ctx, state, &at); err != nil {
				return Result{}, err
			}
		}
		if why := r.aged(at); why != "" {
			r.log.Warn("the restore starts over: it took too long", "why", why)
			if err := r.wipe(); err != nil {
				return Result{}, err
			}
			continue
		}
		if r.restored > 0 {
			r.log.Info("restored", "records", r.restored, "took", time.Since(began).Round(time.Millisecond))
		}
		at.Time = began.UnixMilli()
		return Result{identity, mark, at, epochs, r.restored}, nil
	}
}

// Identity is that of the tasks' local state.
func (c Config) Identity(incarnation int) task.Identity {
	id := task.Identity{Format: 1, Cluster: c.ClusterID, App: c.App, Incarnation: incarnation, States: c.States}
	for _, t := range c.Inputs {
		id.InputIDs = append(id.InputIDs, t.ID)
		id.Partitions = int(t.Partitions)
	}
	for _, t := range c.Changelogs {
		id.ChangelogIDs = append(id.ChangelogIDs, t.ID)
	}
	return id
}

type run struct {
	Config
	partition int32
	log       *slog.Logger
	restored  int64
	known     []bool // by input: an offset is committed
	ends      []end  // by state; none where no mark was read
	waits     string // what the log says while a step does not succeed
	// How old the state was, and when that was found: the clock may be set back meanwhile.
	age   time.Duration
	found time.Time
}

func newRun(cfg Config, partition int32) *run {
	return &run{Config: cfg, partition: partition, log: cfg.Logger.With("partition", partition), waits: "waiting to take over a partition"}
}

// reachable returns the offset to read from. Retention may have removed records before they were processed, which is
// said aloud; an offset beyond the end, or beyond that of its epoch, means that the topic lost what was processed already.
func (r *run) reachable(ctx context.Context, topic broker.Topic, c broker.Committed) (int64, error) {
	offset := c.Offset
	b, err := r.bounds(ctx, topic)
	if err == nil && offset <= b.HW {
		err = r.grown(ctx, topic, c)
	}
	switch {
	case err != nil:
		return 0, err
	case offset > b.HW:
		return 0, &MismatchError{fmt.Sprintf("the committed offset %d of topic %s partition %d lies beyond its end %d: the topic lost records that were processed. Run penstock reset, or use another --app",
			offset, topic.Name, r.partition, b.HW)}
	case offset < b.Start:
		r.log.Error("retention removed records before they were processed: they are lost", "topic", topic.Name, "from", offset, "to", b.Start)
		return b.Start, nil
	}
	return offset, nil
}

// grown refuses a log that was cut below the committed offset and has grown past it since.
func (r *run) grown(ctx context.Context, topic broker.Topic, c broker.Committed) error {
	if c.Epoch == 0 {
		return nil
	}
	var end int64
	var known bool
	err := r.retry(ctx, "compare the log with the one that was read", func() (err error) {
		end, known, err = r.Cluster.EndOf(ctx, topic.Name, r.partition, c.Epoch)
		return err
	})
	if err != nil || !known || end >= c.Offset {
		return err
	}
	return &MismatchError{fmt.Sprintf("the committed offset %d of topic %s partition %d lies beyond %d, where the log that was read was cut; others stand there by now: the topic lost records that were processed. Run penstock reset, or use another --app",
		c.Offset, topic.Name, r.partition, end)}
}

func (r *run) committed(ctx context.Context, topic broker.Topic) (c broker.Committed, err error) {
	err = r.retry(ctx, "fetch the committed offset", func() (err error) {
		c, err = r.Cluster.CommittedOf(ctx, r.App, topic.Name, r.partition)
		return err
	})
	return c, err
}

func (r *run) bounds(ctx context.Context, topic broker.Topic) (b broker.Bounds, err error) {
	err = r.retry(ctx, "list offsets of "+topic.Name, func() (err error) {
		b, err = r.Cluster.BoundsOf(ctx, topic.Name, r.partition)
		return err
	})
	return b, err
}

// local returns the position of the state in the store. State that is none of this task's, or too old (R7), is wiped.
func (r *run) local(ctx context.Context, want task.Identity) (task.Position, error) {
	r.age, r.found = 0, time.Now()
	none := task.Position{Identity: want, Changelogs: make([]int64, len(r.Changelogs)), Time: r.found.UnixMilli()}
	at, ok, err := task.ReadPosition(r.Store, r.partition)
	if err != nil {
		return none, err
	}
	if !ok {
		return none, nil
	}
	if !at.Identity.Equal(want) {
		var b statestore.Batch
		next, ok := carried(r.partition, at, want, &b)
		if !ok || r.table != nil {
			r.log.Warn("local state is wiped and restored", "why", fmt.Sprintf("it belongs to %+v, not to %+v", at.Identity, want))
			return none, r.wipe()
		}
		if err := r.Store.Apply(&b); err != nil {
			return none, err
		}
		at = next
	}
	if why := r.unusable(at); why != "" {
		r.log.Warn("local state is wiped and restored", "why", why)
		return none, r.wipe()
	}
	for state, topic := range r.Changelogs {
		b, err := r.bounds(ctx, topic)
		if err != nil {
			return none, err
		}
		switch pos := at.Changelogs[state]; {
		case pos > b.HW && r.table != nil:
			r.log.Warn("local state is wiped and restored", "why", "its topic ends below its position", "position", pos, "end", b.HW)
			return none, r.wipe()
		case pos > b.HW:
			return none, &MismatchError{fmt.Sprintf("local state of partition %d stands at offset %d of changelog %s, whose end is %d: the changelog lost records. Restore the topic, or run penstock reset",
				r.partition, pos, topic.Name, b.HW)}
		case pos < b.Start:
			r.log.Warn("local state is wiped and restored", "why", "the changelog begins above its position", "topic", topic.Name, "position", pos, "start", b.Start)
			return none, r.wipe()
		}
	}
	r.age = r.found.Sub(time.UnixMilli(at.Time))
	return at, nil
}

// unusable says why local state is too old, or too young (R7).
func (r *run) unusable(at task.Position) string {
	age := time.Since(time.UnixMilli(at.Time))
	if age < -time.Minute {
		return "its time lies in the future by " + (-age).Round(time.Second).String()
	}
	return r.tooOld(age)
}

// aged says why state that was current at.Time ago cannot be told from one with a purged tombstone, "" if it can (R7): what
// was read from then on must have been read before a tombstone written since is purged.
func (r *run) aged(at task.Position) string {
	return r.tooOld(max(time.Since(time.UnixMilli(at.Time)), r.age+time.Since(r.found)))
}

func (r *run) tooOld(age time.Duration) string {
	for _, t := range r.Changelogs {
		if limit := time.Duration(t.DeleteRetentionMs) * time.Millisecond; limit > 0 && age > limit-min(ageMargin, limit/2) {
			return fmt.Sprintf("its age of %v comes near delete.retention.ms %v of topic %s", age.Round(time.Second), limit, t.Name)
		}
	}
	return ""
}

// Have is how far the local state of a partition goes into the changelogs: the sum of its positions and 1, or 0 if there is
// none that can be used.
func (c Config) Have(partition int32) int64 {
	at, ok, err := task.ReadPosition(c.Store, partition)
	if err != nil || !ok {
		return 0
	}
	if want := c.Identity(at.Identity.Incarnation); !at.Identity.Equal(want) {
		var unused statestore.Batch
		if at, ok = carried(partition, at, want, &unused); !ok {
			return 0
		}
	}
	r := run{Config: c}
	if r.unusable(at) != "" {
		return 0
	}
	sum := int64(1)
	for _, position := range at.Changelogs {
		sum += position
	}
	return sum
}

func (r *run) wipe() error {
	if r.table != nil {
		r.table.shut()
	}
	var b statestore.Batch
	b.DeleteRange(task.PartitionRange(r.partition))
	return r.Store.Apply(&b)
}

// changelog reads one state's changelog from at's position until the high watermark that it had at the start is passed.
func (r *run) changelog(ctx context.Context, state int, at *task.Position) error {
	bounds, err := r.bounds(ctx, r.Changelogs[state])
	if err != nil {
		return err
	}
	if r.ends != nil && r.ends[state].least > bounds.HW {
		return &MismatchError{fmt.Sprintf("transactions that the committed offsets know of wrote to changelog %s partition %d up to offset %d, but its end is %d: the changelog lost records. Run penstock reset",
			r.Changelogs[state].Name, r.partition, r.ends[state].least, bounds.HW)}
	}
	if err := r.read(ctx, state, at, bounds.Start, bounds.HW); err != nil || r.ends == nil || r.ends[state].last < bounds.Start {
		return err
	}
	return r.stands(ctx, state, r.ends[state].last)
}

// stands refuses a changelog that was cut, and has grown past the cut by what does not count.
func (r *run) stands(ctx context.Context, state int, offset int64) error {
	reader := r.Cluster.Reader(r.Changelogs[state], r.partition)
	var found broker.Standing
	err := r.retry(ctx, "look for the changelog's last record", func() (err error) {
		found, err = reader.At(ctx, offset)
		return err
	})
	if err != nil || found != broker.Void {
		return err
	}
	return &MismatchError{fmt.Sprintf("transactions that the committed offsets know of wrote a record to changelog %s partition %d at offset %d, where none of a committed transaction stands now: the changelog lost records. Run penstock reset",
		r.Changelogs[state].Name, r.partition, offset)}
}

// reading is how many reads are under way in the process.
var reading atomic.Int32

// part is what one of them may take, in bytes.
func part() int { return min(mostBytes, max(leastBytes, allBytes/max(1, int(reading.Load())))) }

// read reads a topic from at's position, or its start, until the target is passed.
func (r *run) read(ctx context.Context, state int, at *task.Position, start, target int64) error {
	topic := r.Changelogs[state]
	next := at.Changelogs[state]
	if r.ends != nil { // nothing that counts lies between the two, which is seen by reading
		next = min(next, r.ends[state].most)
	}
	next = max(next, start)
	if next >= target {
		at.Changelogs[state] = next
		return nil
	}
	reader := r.Cluster.Reader(topic, r.partition)
	reading.Add(1)
	defer reading.Add(-1)
	r.progress(state, next, target, -1)
	prefix := task.StatePrefix(r.partition, r.States[state])
	var batch statestore.Batch
	var key []byte
	progress := time.Now()
	for next < target {
		if reader.MaxBytes = r.ReadBytes; r.ReadBytes == 0 {
			reader.MaxBytes = int32(part())
		}
		f, err := r.fetch(ctx, reader, next)
		if err != nil {
			return err
		}
		r.progress(state, f.Next, target, f.Bounds.LSO)
		if r.Read != nil {
			if err := r.Read(); err != nil {
				return err
			}
		}
		if f.Next == next {
			if time.Since(progress) > reportAfter {
				r.log.Warn("restore is held by an open transaction", "topic", topic.Name, "position", next, "target", target, "last_stable_offset", f.Bounds.LSO)
				progress = time.Now()
			}
			continue
		}
		progress = time.Now()
		batch.Grow(len(f.Records)+1, f.Bytes()+len(prefix)*len(f.Records))
		for _, rec := range f.Records {
			if format, ok := broker.Header(rec, topology.HeaderFormat); ok && format != "1" {
				return &MismatchError{fmt.Sprintf("changelog %s partition %d offset %d has format %q, this program knows 1: use the program that wrote it, or a newer one",
					topic.Name, r.partition, rec.Offset, format)}
			}
			if r.ends != nil && rec.Offset >= r.ends[state].most {
				return &MismatchError{fmt.Sprintf("changelog %s partition %d holds a committed record at offset %d, but the committed offsets know of none from %d on: they went back, or another program wrote to the changelog; what follows them would be summed twice. Run penstock reset",
					topic.Name, r.partition, rec.Offset, r.ends[state].most)}
			}
			if r.table != nil && !r.table.takes(&batch, r.partition, rec.Key) {
				continue
			}
			key = append(append(key[:0], prefix...), rec.Key...)
			if rec.Value == nil {
				batch.Delete(key)
			} else {
				batch.Set(key, rec.Value)
			}
		}
		r.restored += int64(len(f.Records))
		next = f.Next
		at.Changelogs[state] = next
		if err := r.apply(ctx, &batch, *at, next >= target); err != nil {
			return err
		}
	}
	return nil
}

// apply writes a batch and the position it leads to, once it is large enough or the last. Its time stays that of the state
// the pass began with (R7).
func (r *run) apply(ctx context.Context, batch *statestore.Batch, at task.Position, last bool) error {
	limit := batchRecords
	if r.BatchRecords > 0 {
		limit = r.BatchRecords
	}
	if batch.Len() < limit && batch.Bytes() < part() && !last {
		return nil
	}
	task.WritePosition(batch, r.partition, at)
	err := r.retry(ctx, "write restored state", func() error { return r.Store.Apply(batch) })
	batch.Reset()
	return err
}

func (r *run) fetch(ctx context.Context, reader *broker.Reader, offset int64) (f broker.Fetched, err error) {
	err = r.retry(ctx, "read the changelog", func() error {
		var err error
		f, err = reader.Fetch(ctx, offset)
		return err
	})
	return f, err
}

// retry calls fn until it succeeds or cannot any more. It says what it waits for when that takes long.
func (r *run) retry(ctx context.Context, what string, fn func() error) error {
	began, next := time.Now(), retryMin
	for {
		err := fn()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if broker.IsAuthorization(err) {
			return &MismatchError{fmt.Sprintf("%s of partition %d: %v", what, r.partition, err)}
		}
		if errors.Is(err, broker.ErrOutOfRange) || statestore.IsUnusable(err) || r.table != nil && broker.IsUnknownTopic(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Since(began) > reportAfter {
			r.log.Warn(r.waits, "step", what, "error", err)
			began = time.Now()
		}
		if err := wait(ctx, next); err != nil {
			return err
		}
		next = min(2*next, retryMax)
	}
}

func (r *run) progress(state int, position, target, stable int64) {
	if r.Progress != nil {
		r.Progress(telemetry.Restore{State: r.States[state], Position: position, Target: target, LastStableOffset: stable})
	}
}
