package broker

import (
	"context"
	"sync"
)

// gather lets questions that many tasks have at the same time be asked once. Each is answered by a round that begins after
// it: an answer under way may be older than what the question is about (R5).
type gather[T any] struct {
	mu      sync.Mutex
	running bool
	next    *round[T] // of those who wait for the one that runs to end
}

type round[T any] struct {
	done   chan struct{}
	answer T
	err    error
}

// do returns the answer of a round that begins now or later, or the error of ctx. The rounds of one gather all ask the
// same: whose ask it is does not matter. life bounds the rounds, which those who wait no longer do not end.
func (g *gather[T]) do(ctx, life context.Context, ask func(context.Context) (T, error)) (answer T, err error) {
	g.mu.Lock()
	if g.next == nil {
		g.next = &round[T]{done: make(chan struct{})}
	}
	r := g.next
	if !g.running {
		g.running = true
		go g.run(life, ask)
	}
	g.mu.Unlock()
	select {
	case <-r.done:
		return r.answer, r.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

func (g *gather[T]) run(life context.Context, ask func(context.Context) (T, error)) {
	for {
		g.mu.Lock()
		r := g.next
		g.next = nil
		g.running = r != nil
		g.mu.Unlock()
		if r == nil {
			return
		}
		r.answer, r.err = ask(life)
		close(r.done)
	}
}

// gathers are those of one question, by what it is about.
type gathers[T any] struct{ by sync.Map }

func (g *gathers[T]) of(about string) *gather[T] {
	if found, ok := g.by.Load(about); ok {
		return found.(*gather[T])
	}
	made, _ := g.by.LoadOrStore(about, new(gather[T]))
	return made.(*gather[T])
}
