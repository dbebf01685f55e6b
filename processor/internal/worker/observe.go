package worker

import (
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/telemetry"
	"github.com/penstock/penstock/processor/internal/topology"
)

// placed counts a record whose key the default partitioner would have put elsewhere (R10): a producer with another one
// spreads a session over partitions, where it has several sums.
func (w *Worker) placed(r *topology.Record) {
	if len(w.cfg.Topology.States) == 0 { // it does not go by keys
		return
	}
	if r.Key == nil || w.placement.Of(r.Key, w.cfg.Session.Inputs[r.Input].Partitions) == r.Partition {
		return
	}
	if w.cfg.Counters.Misplaced.Add(1) == 1 {
		w.cfg.Logger.Warn("a key is on a partition that the default partitioner would not choose; a producer with another one may spread a session over partitions. Further ones are only counted",
			"topic", w.cfg.Topology.Inputs[r.Input], "partition", r.Partition, "offset", r.Offset)
	}
}

// restoreConfig is the shared one, with its progress told to the monitor.
func (w *Worker) restoreConfig(partition int32) restore.Config {
	c := w.cfg.Restore
	c.Progress = func(r telemetry.Restore) { w.cfg.Monitor.Restoring(partition, r) }
	c.Read = func() error { return w.step(ReadBack) }
	return c
}

// watched tells the monitor that a task runs.
func (w *Worker) watched(o *owned) {
	var at []int64
	for i := range w.cfg.Topology.Inputs {
		at = append(at, o.task.Next(i))
	}
	w.cfg.Monitor.Running(o.task.Partition(), w.cfg.Topology.Inputs, w.cfg.Topology.States, at)
}
