package engine

import (
	"net/http"

	"github.com/penstock/penstock/processor/internal/telemetry"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore/pebblestore"
)

// Monitor shows how a [Run] fares. It may be asked before the run has begun and after it has ended.
type Monitor struct{ m *telemetry.Monitor }

// NewMonitor makes a monitor for [Config.Monitor] of one Run.
func NewMonitor() *Monitor { return &Monitor{telemetry.New()} }

// Status is how a run fares at one moment; its JSON is that of /api/v1/status.
type Status = telemetry.Status

// CommitTime is a part of [Status].
type CommitTime = telemetry.CommitTime

// Status tells how the run fares.
func (m *Monitor) Status() Status { return m.m.Status() }

// Handler serves, read-only: /livez, 200 while the loops turn; /readyz, 200 when joined and every own partition is
// processed, else 503 with the progress; /metrics for Prometheus; /api/v1/status as JSON.
func (m *Monitor) Handler() http.Handler { return m.m.Handler() }

// stage is the monitor of an application that fills an internal topic of this one's; nil for a nil monitor.
func (m *Monitor) stage(id string) *Monitor {
	if m == nil {
		return nil
	}
	return &Monitor{m.m.Stage(id)}
}

// inner is nil for a nil monitor: its methods do nothing.
func (m *Monitor) inner() *telemetry.Monitor {
	if m == nil {
		return nil
	}
	return m.m
}

func counts(c *worker.Counters, t *topology.Topology) func() telemetry.Counts {
	return func() telemetry.Counts {
		all := telemetry.Counts{Records: c.Records.Load(), Rejected: c.Rejected.Load(), Commits: c.Commits.Load(), Aborts: c.Aborts.Load(),
			Checks: c.Checks.Load(), Violations: c.Violations.Load(), Misplaced: c.Misplaced.Load(),
			Changelog: c.Changelog.Load(), DeadLetters: c.DeadLetters.Load(), Timers: c.Timers.Load(), Lookups: c.Lookups.Load(), StoreReads: c.StoreReads.Load(),
			Flushes: c.Flushes.Load(), FlushedEntries: c.FlushedEntries.Load(), Durable: c.Durable.Load(), Outputs: map[string]int64{}, Removes: map[string]int64{}}
		for i, topic := range t.Outputs {
			all.Outputs[topic] += c.Outputs[i].Load()
		}
		for i, state := range t.States {
			all.Removes[state] = c.Removes[i].Load()
		}
		return all
	}
}

func sizes(s *pebblestore.Store) func() telemetry.Store {
	return func() telemetry.Store {
		m := s.Metrics()
		return telemetry.Store{DiskBytes: m.DiskBytes, MemtableBytes: m.MemtableBytes, BlockBytes: m.CacheBytes}
	}
}
