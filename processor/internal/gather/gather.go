// Package gather lets questions that several ask at the same time be asked once.
package gather

import (
	"context"
	"sync"
	"time"
)

// Asker asks one question for all who have it. Each is answered by a round that begins after its call: an answer under way
// may be older than what the question is about (R5). The zero value works; it must not be copied.
type Asker[T any] struct {
	Pause time.Duration // least time between the beginnings of two rounds

	mu      sync.Mutex
	running bool
	next    *round[T] // of those who wait for the one that runs to end
}

type round[T any] struct {
	done   chan struct{}
	answer T
	err    error
}

// Do returns the answer of a round that begins after the call, or the error of ctx. All calls of one Asker ask the same: whose ask
// is called does not matter, so that it must not end with its caller's context, and must end.
func (a *Asker[T]) Do(ctx context.Context, ask func() (T, error)) (answer T, err error) {
	a.mu.Lock()
	if a.next == nil {
		a.next = &round[T]{done: make(chan struct{})}
	}
	r := a.next
	if !a.running {
		a.running = true
		go a.run(ask)
	}
	a.mu.Unlock()
	select {
	case <-r.done:
		return r.answer, r.err
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// run is a goroutine of its own while somebody waits.
func (a *Asker[T]) run(ask func() (T, error)) {
	var began time.Time
	for {
		time.Sleep(a.Pause - time.Since(began))
		began = time.Now()
		a.mu.Lock()
		r := a.next
		a.next = nil // who comes from here on needs a later round
		a.running = r != nil
		a.mu.Unlock()
		if r == nil {
			return
		}
		r.answer, r.err = ask()
		close(r.done)
	}
}

// Askers are those of questions that are about different things.
type Askers[T any] struct{ about sync.Map }

// Of returns the one that is about something.
func (a *Askers[T]) Of(about string) *Asker[T] {
	if found, ok := a.about.Load(about); ok {
		return found.(*Asker[T])
	}
	made, _ := a.about.LoadOrStore(about, new(Asker[T]))
	return made.(*Asker[T])
}
