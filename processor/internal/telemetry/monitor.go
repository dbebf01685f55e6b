// Package telemetry knows how a process fares: which partitions it owns and how far each is, whether its loops turn and
// the brokers answer, and what was counted. It serves that to probes, to Prometheus and to people, and changes nothing.
package telemetry

import (
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
)

// Monitor is told by the engine's parts what they do. All its methods may be called from any goroutine, and on a nil
// Monitor, where they do nothing.
type Monitor struct {
	metrics *metrics
	now     func() time.Time

	mu         sync.Mutex
	app        string
	instance   string
	stopping   bool
	joined     bool // a first assignment came, be it an empty one
	partitions map[int32]*partition
	beats      map[string]time.Time // by worker: its last turn
	brokers    brokers
	counts     func() Counts
	store      func() Store

	stages      map[string]*Monitor // of applications that fill this one's internal topics, by id
	rejections  map[string]int64    // by reason
	commitTimes []int64             // by commitBounds, and those above
}

// Counts are sums since the start.
type Counts struct {
	Records    int64 `json:"records"`
	Rejected   int64 `json:"rejected"`
	Commits    int64 `json:"commits"`
	Aborts     int64 `json:"aborts"`
	Checks     int64 `json:"continuityChecks"`
	Violations int64 `json:"continuityViolations"`
	Misplaced  int64 `json:"misplaced"`
	// Records of committed transactions.
	Outputs     map[string]int64 `json:"outputs"` // by topic
	Changelog   int64            `json:"changelog"`
	Removes     map[string]int64 `json:"removes"` // by state: how often a handler removed a key's value
	DeadLetters int64            `json:"deadLetters"`
	Timers      int64            `json:"timersFired"`
	// Lookups of state; those that the cache did not answer are StoreReads.
	Lookups    int64 `json:"stateLookups"`
	StoreReads int64 `json:"storeReads"`
	// Batches written to the local store, their entries, and how often all of it was made durable.
	Flushes        int64 `json:"flushes"`
	FlushedEntries int64 `json:"flushedEntries"`
	Durable        int64 `json:"durableFlushes"`
}

// Store is the size of the local store.
type Store struct {
	DiskBytes     uint64 `json:"diskBytes"`
	MemtableBytes uint64 `json:"memtableBytes"`
	BlockBytes    int64  `json:"blockCacheBytes"`
}

// Cache is what a partition's cache holds.
type Cache struct {
	Bytes   int `json:"bytes"`
	Entries int `json:"entries"`
	Dirty   int `json:"dirty"` // committed, on their way to the store
	Timers  int `json:"timersWaiting"`
}

type partition struct {
	running bool
	since   time.Time // of the phase
	restore map[string]Restore
	cache   Cache
	states  []string // whose restore is over
	inputs  []input
}

type input struct {
	topic    string
	position int64 // committed
	stable   int64 // -1: not asked for yet
	high     int64
	caughtUp time.Time // last seen at its end
	heldFrom time.Time // since when the last stable offset stands still below the high watermark; zero: it does not
}

type brokers struct {
	answered time.Time
	err      error
}

// New makes a monitor.
func New() *Monitor { return newMonitor(true) }

// newMonitor makes one whose metrics hold those of the process itself, or do not.
func newMonitor(process bool) *Monitor {
	m := &Monitor{now: time.Now, partitions: map[int32]*partition{}, beats: map[string]time.Time{},
		rejections: map[string]int64{}, commitTimes: make([]int64, len(commitBounds)+1)}
	m.metrics = newMetrics(m, process)
	return m
}

// Stage is the monitor of an application that fills an internal topic of this one's. What it knows is told with this one's.
func (m *Monitor) Stage(id string) *Monitor {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stages == nil {
		m.stages = map[string]*Monitor{}
	}
	if m.stages[id] == nil {
		m.stages[id] = newMonitor(false)
	}
	return m.stages[id]
}

// Traffic counts for the process's Kafka clients; nil for a nil monitor.
func (m *Monitor) Traffic() *broker.Traffic {
	if m == nil {
		return nil
	}
	return m.metrics.traffic
}

// Start names the process. The counts of an engine that ended before in the same process are kept.
func (m *Monitor) Start(app, instance string, counts func() Counts) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.app, m.instance, m.counts = app, instance, counts
}

// Stopping says that the process was told to end: it is not ready any more.
func (m *Monitor) Stopping() { m.with(func() { m.stopping = true }) }

// Opened gives the store's sizes; nil when it is closed.
func (m *Monitor) Opened(sizes func() Store) { m.with(func() { m.store = sizes }) }

// Joined says that the group gave an assignment, be it an empty one; false: the membership is lost.
func (m *Monitor) Joined(yes bool) {
	m.with(func() {
		m.joined = yes
		if yes {
			m.metrics.rebalances.Inc()
		} else {
			m.metrics.losses.Inc()
		}
	})
}

// Beat says that a worker's loop turned. It is called once a turn.
func (m *Monitor) Beat(worker string) {
	m.with(func() { m.beats[worker] = m.now() })
}

// Ended says that a worker's loop ended.
func (m *Monitor) Ended(worker string) { m.with(func() { delete(m.beats, worker) }) }

// Acquired says that a partition is owned and to be restored, for the first time or again.
func (m *Monitor) Acquired(p int32) {
	m.with(func() { m.partitions[p] = &partition{since: m.now(), restore: map[string]Restore{}} })
}

// Restoring tells how far a partition's restore is: position moves to target; stable is the last stable offset of the
// changelog, below target while an open transaction holds it (R5).
func (m *Monitor) Restoring(p int32, r Restore) {
	m.with(func() {
		if o := m.partitions[p]; o != nil && !o.running {
			if before, ok := o.restore[r.State]; ok {
				m.metrics.restored.Add(float64(max(0, r.Position-before.Position)))
			}
			o.restore[r.State] = r
		}
	})
}

// Running says that a partition is processed, and the restore of its states over.
func (m *Monitor) Running(p int32, topics, states []string, positions []int64) {
	m.with(func() {
		now := m.now()
		o := &partition{running: true, since: now, states: states}
		for i, t := range topics {
			o.inputs = append(o.inputs, input{topic: t, position: positions[i], stable: -1, caughtUp: now})
		}
		m.partitions[p] = o
	})
}

// Committed tells a partition's committed positions, by input, and what its cache holds.
func (m *Monitor) Committed(p int32, position func(input int) int64, cache Cache) {
	m.with(func() {
		o := m.partitions[p]
		if o == nil || !o.running {
			return
		}
		o.cache = cache
		for i := range o.inputs {
			o.inputs[i].position = position(i)
		}
	})
}

// Released says that a partition is not owned any more.
func (m *Monitor) Released(p int32) { m.with(func() { delete(m.partitions, p) }) }

// CommitTook notes how long a successful commit took, from the last record to the broker's word.
func (m *Monitor) CommitTook(d time.Duration) {
	m.with(func() {
		m.metrics.commit.Observe(d.Seconds())
		at, _ := slices.BinarySearch(commitBounds, d.Seconds())
		m.commitTimes[at]++
	})
}

// Rejected counts a rejected record.
func (m *Monitor) Rejected(reason string) {
	m.with(func() {
		m.metrics.rejected.WithLabelValues(reason).Inc()
		m.rejections[reason]++
	})
}

func (m *Monitor) with(fn func()) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fn()
}
