package telemetry

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// liveFor is how long a worker may go without a turn. Its longest bounded step is a commit of 30 s.
	liveFor = 2 * time.Minute
	// reachableFor is how old the brokers' last answer may be.
	reachableFor = 12 * time.Second
	// heldAfter is how long the last stable offset must stand still to count as held: every open transaction holds it
	// for a moment.
	heldAfter = 10 * time.Second
)

// Status is how a process fares at one moment.
type Status struct {
	App        string      `json:"app"`
	Instance   string      `json:"instance"`
	Live       bool        `json:"live"`
	Ready      bool        `json:"ready"`
	Reasons    []string    `json:"reasons"` // why not
	Joined     bool        `json:"joined"`
	Reachable  bool        `json:"brokersReachable"`
	Error      string      `json:"brokersError,omitempty"`
	Partitions []Partition `json:"partitions"`
	Counts     Counts      `json:"counts"`
	// Rejections are Counts.Rejected by reason.
	Rejections map[string]int64 `json:"rejections"`
	// CommitTimes counts successful commits by how long they took, from the last record to the broker's word; the shortest first.
	CommitTimes []CommitTime `json:"commitTimes"`
	Store       Store        `json:"store"`
	// Stages are the applications beside this one that give its inputs their key, by id. It is live and ready if they are.
	Stages map[string]Status `json:"stages,omitempty"`
}

// CommitTime is how many commits took longer than the bound before, up to UpTo seconds. The last one has no bound, written 0.
type CommitTime struct {
	UpTo    float64 `json:"upToSeconds"`
	Commits int64   `json:"commits"`
}

// Partition is one that the process owns.
type Partition struct {
	Partition int32     `json:"partition"`
	State     string    `json:"state"` // "restoring" or "running"
	Seconds   float64   `json:"seconds"`
	Restore   []Restore `json:"restore,omitempty"`
	Inputs    []Input   `json:"inputs,omitempty"`
	Cache     Cache     `json:"cache"`

	restored []string // states whose restore is over
}

// Restore is the progress in one state's changelog.
type Restore struct {
	State            string `json:"state"`
	Position         int64  `json:"position"`
	Target           int64  `json:"target"`
	LastStableOffset int64  `json:"lastStableOffset"`
}

// Remaining is how many offsets are to be read.
func (r Restore) Remaining() int64 { return max(0, r.Target-r.Position) }

// Held reports whether an open transaction keeps the rest from being read.
func (r Restore) Held() bool {
	return r.Position < r.Target && r.LastStableOffset >= 0 && r.Position >= r.LastStableOffset
}

// Input is one input's partition. Offsets are as of the last answer of the brokers, -1 before the first.
type Input struct {
	Topic            string `json:"topic"`
	Position         int64  `json:"position"`
	LastStableOffset int64  `json:"lastStableOffset"`
	HighWatermark    int64  `json:"highWatermark"`
	// Lag is the distance to the last stable offset, which is as far as can be read; 0 when idle.
	Lag int64 `json:"lag"`
	// BehindSeconds is how long ago the position was last seen at the last stable offset.
	BehindSeconds float64 `json:"behindSeconds"`
	// HeldSeconds is how long an open transaction has held the last stable offset; HeldRecords lie behind it.
	HeldSeconds float64 `json:"heldSeconds"`
	HeldRecords int64   `json:"heldRecords"`
}

// Status tells how the process fares.
func (m *Monitor) Status() Status {
	s := m.own()
	for id, stage := range m.eachStage() {
		if s.Stages == nil {
			s.Stages = map[string]Status{}
		}
		of := stage.Status()
		s.Stages[id] = of
		s.Live = s.Live && of.Live
		for _, why := range of.Reasons {
			s.Reasons = append(s.Reasons, id+": "+why)
		}
	}
	s.Ready = len(s.Reasons) == 0
	return s
}

func (m *Monitor) eachStage() map[string]*Monitor {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.stages)
}

// own is the status without the stages.
func (m *Monitor) own() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	s := Status{App: m.app, Instance: m.instance, Joined: m.joined, Live: true, Reasons: []string{}, Partitions: []Partition{}}
	s.Reachable = now.Sub(m.brokers.answered) < reachableFor
	if m.brokers.err != nil {
		s.Error = m.brokers.err.Error()
	}
	if m.counts != nil {
		s.Counts = m.counts()
	}
	if m.store != nil {
		s.Store = m.store()
	}
	s.Rejections = maps.Clone(m.rejections)
	for i, n := range m.commitTimes {
		t := CommitTime{Commits: n}
		if i < len(commitBounds) {
			t.UpTo = commitBounds[i]
		}
		s.CommitTimes = append(s.CommitTimes, t)
	}
	for p, o := range m.partitions {
		s.Partitions = append(s.Partitions, o.status(p, now))
	}
	slices.SortFunc(s.Partitions, func(a, b Partition) int { return int(a.Partition - b.Partition) })
	for name, at := range m.beats {
		if silent := now.Sub(at); silent > liveFor {
			s.Live = false
			s.Reasons = append(s.Reasons, fmt.Sprintf("worker %s has not turned for %v", name, silent.Round(time.Second)))
		}
	}
	s.Reasons = append(s.Reasons, m.unready(&s)...)
	return s
}

// unready returns what keeps the process from serving.
func (m *Monitor) unready(s *Status) []string {
	var why []string
	switch {
	case m.stopping:
		return []string{"stopping"}
	case m.app == "":
		return []string{"starting"}
	}
	if !s.Reachable {
		text := "the brokers have not answered yet"
		if !m.brokers.answered.IsZero() {
			text = fmt.Sprintf("the brokers have not answered for %v", m.now().Sub(m.brokers.answered).Round(time.Second))
		}
		if s.Error != "" {
			text += ": " + s.Error
		}
		why = append(why, text)
	}
	if !m.joined {
		text := "joining the group"
		if s.Reachable && s.Error != "" { // which may be the reason already
			text += ", and the brokers did not answer: " + s.Error
		}
		return append(why, text)
	}
	restoring, remaining := 0, int64(0)
	var held []string
	for _, p := range s.Partitions {
		if p.State == running {
			continue
		}
		restoring++
		for _, r := range p.Restore {
			remaining += r.Remaining()
			if r.Held() {
				held = append(held, fmt.Sprintf("partition %d waits at offset %d of %s's changelog for an open transaction", p.Partition, r.LastStableOffset, r.State))
			}
		}
	}
	if restoring > 0 {
		why = append(why, fmt.Sprintf("restoring %d of %d partitions: %d changelog records to read", restoring, len(s.Partitions), remaining))
	}
	return append(why, held...)
}

const (
	restoring = "restoring"
	running   = "running"
)

func (o *partition) status(p int32, now time.Time) Partition {
	s := Partition{Partition: p, State: restoring, Seconds: now.Sub(o.since).Seconds(), Cache: o.cache, restored: o.states}
	if o.running {
		s.State = running
	}
	for _, r := range o.restore {
		s.Restore = append(s.Restore, r)
	}
	slices.SortFunc(s.Restore, func(a, b Restore) int { return strings.Compare(a.State, b.State) })
	for _, in := range o.inputs {
		s.Inputs = append(s.Inputs, in.status(now))
	}
	return s
}

func (in *input) status(now time.Time) Input {
	s := Input{Topic: in.topic, Position: in.position, LastStableOffset: in.stable, HighWatermark: in.high}
	if in.stable < 0 {
		s.HighWatermark = -1
		return s
	}
	if s.Lag = max(0, in.stable-in.position); s.Lag > 0 {
		s.BehindSeconds = now.Sub(in.caughtUp).Seconds()
	}
	if held := now.Sub(in.heldFrom); !in.heldFrom.IsZero() && held >= heldAfter {
		s.HeldSeconds, s.HeldRecords = held.Seconds(), in.high-in.stable
	}
	return s
}
