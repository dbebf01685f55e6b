package worker

import (
	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
)

// produce hands the effects of every task to the session.
func (w *Worker) produce() error {
	for _, o := range w.tasks {
		w.produceOf(o)
	}
	return w.step(Produced)
}

// How many effects, or bytes of them, are handed to the session at a time: while they are in the processor's cache.
const (
	produceEvery = 256
	produceBytes = 128 << 10
)

// gathered hands a task's effects to the session where there are enough of them.
func (w *Worker) gathered(o *owned) {
	if len(o.task.Effects()) >= produceEvery || o.task.EffectBytes() >= produceBytes {
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
			w.sent.outputs[e.Index]++
		case task.Changelog:
			out.To = o.tracks[e.Index]
			o.debt++
			w.sent.changelog++
		case task.DeadLetterKind:
			out.To = o.letters
			w.sent.letters++
		}
		w.session.Produce(out)
	}
	o.task.ClearEffects()
}

// sent counts a transaction's records, which count for the process once it is committed.
type sent struct {
	outputs            []int64 // by output
	changelog, letters int64
}

func (s *sent) reset() {
	clear(s.outputs)
	s.changelog, s.letters = 0, 0
}

// countSent moves the counts of a transaction that was committed into the process's.
func (w *Worker) countSent() {
	c := w.cfg.Counters
	for i, n := range w.sent.outputs {
		if n > 0 {
			c.Outputs[i].Add(n)
		}
	}
	c.Changelog.Add(w.sent.changelog)
	c.DeadLetters.Add(w.sent.letters)
	w.sent.reset()
}
