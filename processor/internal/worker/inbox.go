package worker

import (
	"context"
	"sync"

	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/task"
)

// inbox holds what other goroutines ask of a worker. A put interrupts the worker's wait for records.
type inbox struct {
	mu     sync.Mutex
	items  []any
	wake   context.CancelFunc
	closed bool

	questions []question
	wakeAsked context.CancelFunc // nil while a wait goes on in spite of questions
}

type acquire struct {
	partition int32
	epoch     uint64
}

type release struct {
	partition int32
	commit    bool
	done      chan struct{}
}

type restored struct {
	of     *restoring
	result restore.Result
	timers *task.Timers
	err    error
}

type applied struct{ owned *owned }

// put adds an item; false if the worker is gone.
func (b *inbox) put(item any) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.items = append(b.items, item)
	if b.wake != nil {
		b.wake()
	}
	return true
}

// take returns all items.
func (b *inbox) take() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = nil
	return items
}

// waitable returns a context that ends when an item is there.
func (b *inbox) waitable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wake, b.wakeAsked = cancel, nil
	if len(b.items) > 0 {
		cancel()
	}
	return ctx, cancel
}

// askable returns a context that ends when an item or a question is there.
func (b *inbox) askable(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := b.waitable(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wakeAsked = cancel
	if len(b.questions) > 0 {
		cancel()
	}
	return ctx, cancel
}

// close refuses further items and answers those that somebody waits for.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, item := range b.items {
		if r, ok := item.(release); ok {
			close(r.done)
		}
	}
	for _, q := range b.questions {
		q.answer <- answer{err: ErrNotServed}
	}
	b.items, b.questions = nil, nil
}

// Acquire implements member.Holder.
func (w *Worker) Acquire(partition int32, epoch uint64) {
	w.held.Add(1)
	w.cfg.Monitor.Acquired(partition)
	w.inbox.put(acquire{partition, epoch})
}

// Release implements member.Holder.
func (w *Worker) Release(partition int32, commit bool) {
	r := release{partition, commit, make(chan struct{})}
	if w.inbox.put(r) {
		<-r.done
	}
	w.held.Add(-1)
	w.cfg.Monitor.Released(partition)
}

// answer does what is in the inbox.
func (w *Worker) answer(ctx context.Context) error {
	items := w.inbox.take()
	for i, item := range items {
		if err := w.answerOne(ctx, item); err != nil {
			w.putBack(items[i+1:])
			return err
		}
	}
	w.answerQuestions()
	return nil
}

// putBack returns items that an error left unanswered to the head of the inbox.
func (w *Worker) putBack(rest []any) {
	w.inbox.mu.Lock()
	defer w.inbox.mu.Unlock()
	w.inbox.items = append(append([]any(nil), rest...), w.inbox.items...)
}

func (w *Worker) answerOne(ctx context.Context, item any) error {
	switch m := item.(type) {
	case acquire:
		w.acquire(ctx, m.partition, m.epoch)
	case release:
		err := w.release(ctx, m)
		close(m.done)
		return err
	case restored:
		return w.restored(ctx, m)
	case learned:
		w.learned(m)
	case applied:
		if w.tasks[m.owned.task.Partition()] == m.owned {
			if err := w.settle(m.owned); err != nil {
				return err
			}
			return w.step(Applied)
		}
	}
	return nil
}
