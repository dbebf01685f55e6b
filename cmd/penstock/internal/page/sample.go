package page

import (
	"context"
	"sync"
	"time"

	"github.com/penstock/penstock/processor/engine"
)

const (
	sampleEvery = time.Second
	// pointEvery is how many samples make one point of the hour.
	pointEvery = 10
	hourPoints = 360
	// nowOver is over how many samples the present rate and times are taken.
	nowOver = 5
)

// Point is what happened over some time, up to At.
type Point struct {
	At  int64   `json:"at"`  // Unix milliseconds
	Per float64 `json:"per"` // seconds that it covers
	// Rate is committed records a second.
	Rate float64 `json:"rate"`
	// P50 and P99 are of how long commits took, in milliseconds, about: they are told from a histogram. -1: there was none.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	// Lag is what was still to be read at the end, in offsets over all own partitions.
	Lag int64 `json:"lag"`
}

// sampler looks at the status again and again.
type sampler struct {
	status func() engine.Status

	mu      sync.Mutex
	changed chan struct{} // closed at the next sample
	recent  []sample      // the last ones, the newest last
	hour    []Point
	made    int // points since the start
	taken   int // samples
}

type sample struct {
	at     time.Time
	status engine.Status
}

func newSampler(status func() engine.Status) *sampler {
	s := &sampler{status: status, changed: make(chan struct{})}
	s.take(time.Now())
	return s
}

func (s *sampler) run(ctx context.Context) {
	t := time.NewTicker(sampleEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			s.take(now)
		}
	}
}

// take looks once.
func (s *sampler) take(now time.Time) {
	status := s.status() // outside the lock: it may wait for the engine
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recent = append(s.recent, sample{now, status})
	if len(s.recent) > pointEvery+1 {
		s.recent = s.recent[1:]
	}
	s.taken++
	if s.taken > 1 && s.taken%pointEvery == 1 {
		s.made++
		s.hour = append(s.hour, between(s.recent[0], s.recent[len(s.recent)-1]))
		if len(s.hour) > hourPoints {
			s.hour = s.hour[1:]
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// view is what a stream shows next: hour holds the points after the first seen ones.
func (s *sampler) view(seen int) (v view, made int, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.recent[len(s.recent)-1]
	v.Status = last.status
	v.Now = between(s.recent[max(0, len(s.recent)-1-nowOver)], last)
	fresh := min(s.made-seen, len(s.hour))
	v.Hour = append([]Point{}, s.hour[len(s.hour)-fresh:]...)
	return v, s.made, s.changed
}

// view is one event.
type view struct {
	Status engine.Status `json:"status"`
	Now    Point         `json:"now"`
	Hour   []Point       `json:"hour"` // to be added to those sent before
}

// between is what happened between two samples.
func between(a, b sample) Point {
	p := Point{At: b.at.UnixMilli(), Per: b.at.Sub(a.at).Seconds()}
	if p.Per > 0 {
		p.Rate = float64(max(0, b.status.Counts.Records-a.status.Counts.Records)) / p.Per
	}
	var times []engine.CommitTime
	for i, t := range b.status.CommitTimes {
		if i < len(a.status.CommitTimes) {
			t.Commits -= a.status.CommitTimes[i].Commits
		}
		times = append(times, t)
	}
	p.P50, p.P99 = quantile(times, 0.5), quantile(times, 0.99)
	for _, o := range b.status.Partitions {
		for _, in := range o.Inputs {
			p.Lag += in.Lag
		}
	}
	return p
}

// quantile is the time in milliseconds that a part q of the commits did not exceed, as if those of one bucket lay evenly in
// it; -1 without a commit.
func quantile(times []engine.CommitTime, q float64) float64 {
	total := int64(0)
	for _, t := range times {
		total += t.Commits
	}
	if total == 0 {
		return -1
	}
	rank, below, from := q*float64(total), int64(0), 0.0
	for _, t := range times {
		if float64(below+t.Commits) >= rank && t.Commits > 0 {
			if t.UpTo == 0 {
				return from * 1000 // above the last bound
			}
			return (from + (t.UpTo-from)*(rank-float64(below))/float64(t.Commits)) * 1000
		}
		below += t.Commits
		from = max(from, t.UpTo)
	}
	return from * 1000
}
