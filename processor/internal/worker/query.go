package worker

import (
	"context"
	"errors"
	"time"

	"github.com/penstock/penstock/processor/internal/task"
)

// Bounds of questions, so that they do not slow the records down.
const (
	maxQuestions     = 4096 // that wait
	questionsPerTurn = 128
	// answerInterval is the least time between two turns of them inside a batch of records.
	answerInterval = 2 * time.Millisecond
)

var (
	// ErrNotServed says that the worker does not have the partition's state complete: it is being taken over or given away.
	ErrNotServed = errors.New("the partition is being taken over")
	// ErrBusy says that too many questions wait.
	ErrBusy = errors.New("too many questions wait")
)

// Question asks for committed state of a partition.
type Question struct {
	Partition int32
	Epoch     uint64 // of the lease that the question goes to
	// Look is called on the worker's goroutine, between two records or commits, and must be short. It reads committed
	// values alone: Task.Committed, Task.Unapplied.
	Look func(t *task.Task)
	Long bool // Look walks over many keys: no other question is answered in the same turn
}

type question struct {
	Question
	answer chan answer // has room for one
}

type answer struct {
	held Held
	err  error
}

// Held is a task at the time of a Look.
type Held struct{ o *owned }

// Still reports whether the task has not been given up since: what the store holds of its partition is its committed state.
func (h Held) Still() bool { return !h.o.gone.Load() }

// Ask lets q.Look see the task. After an error it is not, or not any more, safe to read what Look writes.
func (w *Worker) Ask(ctx context.Context, q Question) (Held, error) {
	asked := question{q, make(chan answer, 1)}
	if err := w.inbox.ask(asked); err != nil {
		return Held{}, err
	}
	select {
	case a := <-asked.answer:
		return a.held, a.err
	case <-ctx.Done():
		return Held{}, ctx.Err()
	}
}

func (b *inbox) ask(q question) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return ErrNotServed
	case len(b.questions) >= maxQuestions:
		return ErrBusy
	}
	b.questions = append(b.questions, q)
	if b.wakeAsked != nil {
		b.wakeAsked()
	}
	return nil
}

// takeQuestions returns those of one turn.
func (b *inbox) takeQuestions() []question {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.questions), questionsPerTurn)
	for i, q := range b.questions[:n] {
		if q.Long {
			n = i + 1
			break
		}
	}
	taken := b.questions[:n:n]
	if b.questions = b.questions[n:]; len(b.questions) == 0 {
		b.questions = nil
	}
	return taken
}

// answerQuestions answers those of one turn. It is called where no commit is under way and none has an unknown outcome:
// after an error, recover drops the tasks before it comes here (R3).
func (w *Worker) answerQuestions() {
	w.answeredAt = time.Now()
	for _, q := range w.inbox.takeQuestions() {
		o := w.tasks[q.Partition]
		if o == nil || o.epoch != q.Epoch || w.cfg.Epoch(q.Partition) != q.Epoch {
			q.answer <- answer{err: ErrNotServed}
			continue
		}
		q.Look(o.task)
		q.answer <- answer{held: Held{o}}
	}
}
