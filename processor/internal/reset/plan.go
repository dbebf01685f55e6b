// Package reset makes an application process its input again (R14): its state is dropped, wherever a copy of it lies, and
// its offsets are set. Every step may crash and the whole be repeated.
package reset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/topology"
)

// Config is what is reset.
type Config struct {
	Cluster            *broker.Cluster
	Topology           *topology.Topology
	To                 Point
	TransactionTimeout time.Duration
	Logger             *slog.Logger
	// Step is called after each step of Execute; a test stops it there by an error. May be nil.
	Step func(Step) error
}

// Point is where the input is processed from.
type Point struct {
	End     bool
	Time    time.Time       // not zero: the first record at or after it
	Offsets map[int32]int64 // not nil: these, of all partitions of the one input
}

// Plan is what a reset would do.
type Plan struct {
	App              string      `json:"app"`
	Members          []string    `json:"members"` // must be none
	Resumes          bool        `json:"resumes"` // an earlier reset did not end
	TransactionalIDs []string    `json:"transactionalIds"`
	Spared           []string    `json:"sparedTransactionalIds"` // of other applications whose name begins like this one's
	Inputs           []Input     `json:"inputs"`
	Changelogs       []Changelog `json:"changelogs"`
	Deleted          []string    `json:"deletedTopics"`
	Outputs          []string    `json:"outputs"`
	Records          int64       `json:"records"` // offsets that will be processed, again or for the first time
}

// Input is one partition of an input.
type Input struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"` // -1: none
	To        int64  `json:"to"`
	End       int64  `json:"end"`
}

// Changelog is one that is made anew.
type Changelog struct {
	Topic       string            `json:"topic"`
	Exists      bool              `json:"exists"`
	Partitions  int32             `json:"partitions"`
	Replication int16             `json:"replicationFactor"`
	Configs     map[string]string `json:"configs"`
	Records     int64             `json:"records"` // offsets that are lost with it
}

// ErrLive says that the application runs.
var ErrLive = errors.New("the application has live members")

// Inspect finds out what a reset would do and changes nothing.
func Inspect(ctx context.Context, cfg Config) (*Plan, error) {
	r := &run{Config: cfg, app: cfg.Topology.ID}
	return r.inspect(ctx)
}

type run struct {
	Config
	app    string
	inputs []broker.Topic
	plan   *Plan

	unstable bool // an offset is, when the plan is made
}

func (r *run) inspect(ctx context.Context) (*Plan, error) {
	p := &Plan{App: r.app, Outputs: r.Topology.Outputs, Deleted: []string{}}
	r.plan = p
	var err error
	if p.Members, err = r.Cluster.Members(ctx, r.app); err != nil {
		return nil, err
	}
	if err := r.transactionalIDs(ctx); err != nil {
		return nil, err
	}
	r.inputs = nil
	for _, name := range r.Topology.Inputs {
		t, err := r.Cluster.Topic(ctx, name)
		if err != nil {
			return nil, err
		}
		r.inputs = append(r.inputs, t)
		if err := r.input(ctx, t); err != nil {
			return nil, err
		}
	}
	for i := range r.Topology.States {
		if err := r.changelog(ctx, r.Topology.ChangelogTopic(i)); err != nil {
			return nil, err
		}
	}
	for _, before := range r.Topology.Before {
		if err := r.inspectStage(ctx, before); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// stage is the reset of an application that fills an internal input: it begins where this one is to begin.
func (r *run) stage(t *topology.Topology) *run {
	cfg := r.Config
	cfg.Topology = t
	return &run{Config: cfg, app: t.ID}
}

// inspectStage adds what the reset of a stage does to the plan.
func (r *run) inspectStage(ctx context.Context, t *topology.Topology) error {
	plan, err := r.stage(t).inspect(ctx)
	if err != nil {
		return err
	}
	p := r.plan
	p.Members = append(p.Members, plan.Members...)
	p.Inputs = append(p.Inputs, plan.Inputs...)
	p.Records += plan.Records
	p.Resumes = p.Resumes || plan.Resumes
	return nil
}

// transactionalIDs finds the application's. "a-b-host-0" may be that of instance "host" of application "a-b": where there
// is such a group, it is spared.
func (r *run) transactionalIDs(ctx context.Context) error {
	ids, err := r.Cluster.TransactionalIDs(ctx, r.app+"-")
	if err != nil {
		return err
	}
	groups, err := r.Cluster.Groups(ctx)
	if err != nil {
		return err
	}
	r.plan.TransactionalIDs, r.plan.Spared = []string{}, []string{}
	for _, id := range ids {
		other := slices.ContainsFunc(groups, func(g string) bool {
			return strings.HasPrefix(g, r.app+"-") && strings.HasPrefix(id, g+"-")
		})
		if other {
			r.plan.Spared = append(r.plan.Spared, id)
		} else {
			r.plan.TransactionalIDs = append(r.plan.TransactionalIDs, id)
		}
	}
	return nil
}

func (r *run) input(ctx context.Context, t broker.Topic) error {
	to, bounds, err := r.targets(ctx, t)
	if err != nil {
		return err
	}
	committed, err := r.Cluster.Committed(ctx, r.app, t.Name, partitions(t))
	if err != nil {
		return err
	}
	for _, p := range partitions(t) {
		at := committed[p]
		if at.Err != nil && !errors.Is(at.Err, broker.ErrUnstable) {
			return at.Err
		}
		r.unstable = r.unstable || at.Err != nil
		r.plan.Resumes = r.plan.Resumes || restore.Resetting(at.Metadata)
		r.plan.Inputs = append(r.plan.Inputs, Input{Topic: t.Name, Partition: p, Committed: at.Offset, To: to[p], End: bounds[p].LSO})
		r.plan.Records += max(0, bounds[p].LSO-to[p])
	}
	return nil
}

// targets are the offsets to set.
func (r *run) targets(ctx context.Context, t broker.Topic) (map[int32]int64, map[int32]broker.Bounds, error) {
	bounds, err := r.Cluster.Bounds(ctx, t.Name)
	if err != nil {
		return nil, nil, err
	}
	to := map[int32]int64{}
	var after map[int32]int64
	switch {
	case r.Topology.IsInternal(t.Name):
	case r.To.Offsets != nil:
		if len(r.Topology.Inputs) != 1 {
			return nil, nil, fmt.Errorf("offsets can be given for an application of one input, %s has %d", r.app, len(r.Topology.Inputs))
		}
		for p := range r.To.Offsets {
			if p < 0 || p >= t.Partitions {
				return nil, nil, fmt.Errorf("topic %s has partitions 0 to %d, not %d", t.Name, t.Partitions-1, p)
			}
		}
	case !r.To.Time.IsZero():
		if after, err = r.Cluster.OffsetsAfter(ctx, t.Name, r.To.Time.UnixMilli()); err != nil {
			return nil, nil, err
		}
	}
	var faults []error
	for _, p := range partitions(t) {
		b := bounds[p]
		switch {
		case r.Topology.IsInternal(t.Name): // what is there was made from what will be read again
			to[p] = b.LSO
		case r.To.Offsets != nil:
			at, ok := r.To.Offsets[p]
			if !ok || at < b.Start || at > b.LSO {
				faults = append(faults, fmt.Errorf("topic %s partition %d needs an offset from %d to %d, got %s", t.Name, p, b.Start, b.LSO, given(at, ok)))
			}
			to[p] = at
		case r.To.End:
			to[p] = b.LSO
		case after != nil:
			to[p] = min(max(after[p], b.Start), b.LSO)
		default:
			to[p] = b.Start
		}
	}
	return to, bounds, errors.Join(faults...)
}

func given(at int64, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprint(at)
}

func (r *run) changelog(ctx context.Context, name string) error {
	c := Changelog{Topic: name, Partitions: r.inputs[0].Partitions, Replication: -1, Configs: map[string]string{}}
	_, err := r.Cluster.Topic(ctx, name)
	switch {
	case errors.Is(err, broker.ErrNoTopic):
	case err != nil:
		return err
	default:
		c.Exists = true
		if c.Configs, c.Replication, err = r.Cluster.Overrides(ctx, name); err != nil {
			return err
		}
		bounds, err := r.Cluster.Bounds(ctx, name)
		if err != nil {
			return err
		}
		for _, b := range bounds {
			c.Records += b.HW - b.Start
		}
	}
	c.Configs["cleanup.policy"] = "compact"
	r.plan.Changelogs = append(r.plan.Changelogs, c)
	return nil
}

func partitions(t broker.Topic) []int32 {
	list := make([]int32, t.Partitions)
	for p := range list {
		list[p] = int32(p)
	}
	return list
}

// nextIncarnation is one that no local state has. Where an offset with its mark is gone, so is the last one's number: the
// time in seconds is above any count.
func nextIncarnation(all []broker.Committed, now time.Time) int {
	next, lost := 1, len(all) == 0
	for _, c := range all {
		var m restore.Mark
		if json.Unmarshal([]byte(c.Metadata), &m) != nil || m.Format == 0 {
			lost = true
			continue
		}
		if m.Resetting {
			next = max(next, m.Incarnation) // it was raised when it was set
		} else {
			next = max(next, m.Incarnation+1)
		}
	}
	if lost {
		return max(next, int(now.Unix()))
	}
	return max(next, 2)
}
