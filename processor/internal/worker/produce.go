package worker

import (
	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
)

// produce hands the effects of every task to the client.
func (w *Worker) produce() error {
	for _, o := range w.tasks {
		w.produceOf(o)
	}
	return nil
}

// produceEvery is how many effects are handed to the client at a time: while they are in the processor's cache.
const produceEvery = 256

// gathered hands a task's effects to the client where there are enough of them.
func (w *Worker) gathered(o *owned) {
	if len(o.task.Effects()) >= produceEvery {
		w.produceOf(o)
	}
}

func (w *Worker) produceOf(o *owned) {
	effects := o.task.Effects()
	for i := range effects {
		e := &effects[i]
		out := broker.Out{Key: e.Key, Value: e.Value, Headers: e.Headers, Timestamp: e.Timestamp}
		switch e.Kind {
		case task.Output:
			out.Topic = w.cfg.Topology.Outputs[e.Index]
		case task.Changelog:
			out.To = o.tracks[e.Index]
			o.debt++
		case task.DeadLetterKind:
			out.To = o.letters
		}
		w.session.Produce(out)
	}
	o.task.ClearEffects()
}
