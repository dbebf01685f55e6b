package processor

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/penstock/penstock/processor/internal/topology"
)

// Reasons of this package for a rejected record; codecs and handlers add their own.
const (
	ReasonNoKey     = "no-key"    // the key is null
	ReasonEmptyKey  = "empty-key" // the key has no bytes
	ReasonTombstone = "tombstone" // the value is null and the input has no delete handler
	ReasonHandler   = "handler"   // the handler returned an error that names no reason
	ReasonPanic     = "panic"     // the handler panicked
	ReasonEncode    = "encode"    // a value could not be encoded
	ReasonTooLarge  = "too-large" // a record would exceed what its topic takes
	ReasonTable     = "table-row" // a row that the handler looked up does not decode
)

// Reject makes an error that gives a record's rejection a reason: a short fixed word that dashboards count by.
func Reject(reason string, err error) error { return &topology.Rejection{Reason: reason, Err: err} }

// bound is an App acting on one runtime.
type bound struct {
	ctx    *Context
	strict bool // each call has a Context of its own, so that a use of an older one is told
	calls  int  // when strict
}

// goroutineCalls is how many calls check that their Context stays in its goroutine: to ask for its name costs some 10 us.
const goroutineCalls = 1000

func (a *App) bind(rt topology.Runtime) topology.Handler {
	return &bound{ctx: &Context{app: a, rt: rt}}
}

func (a *App) bindStrict(rt topology.Runtime) topology.Handler {
	return &bound{ctx: &Context{app: a, rt: rt}, strict: true}
}

// Handle checks the record, calls the App's code and sorts its outcome. A fault of the engine goes before whatever the
// handler returned, since the handler acted on wrong values.
func (b *bound) Handle(r *topology.Record) error {
	c := b.ctx
	if b.strict {
		c = &Context{app: c.app, rt: c.rt}
		if b.calls++; b.calls <= goroutineCalls {
			c.goroutine = goroutine()
		}
		b.ctx = c
	}
	c.record, c.fault, c.rejected = r, nil, nil
	err := b.call(r)
	c.record = nil
	if c.fault != nil {
		return c.fault
	}
	if c.rejected != nil {
		return c.rejected
	}
	if err == nil {
		return nil
	}
	var rejection *topology.Rejection
	if errors.As(err, &rejection) {
		return rejection
	}
	return &topology.Rejection{Reason: ReasonHandler, Err: err}
}

func (b *bound) call(r *topology.Record) (err error) {
	if r.Key == nil {
		return &topology.Rejection{Reason: ReasonNoKey, Err: errors.New("the key is null")}
	}
	if len(r.Key) == 0 {
		return &topology.Rejection{Reason: ReasonEmptyKey, Err: errors.New("the key is empty")}
	}
	defer func() {
		if p := recover(); p != nil {
			if m, ok := p.(misuse); ok && b.strict {
				panic(m)
			}
			err = &topology.Rejection{Reason: ReasonPanic, Err: fmt.Errorf("%v\n%s", p, debug.Stack())}
		}
	}()
	if r.Input < 0 {
		return b.ctx.app.timers[^r.Input].handle(b.ctx)
	}
	in := &b.ctx.app.inputs[r.Input]
	if r.Value == nil {
		if in.delete == nil {
			return &topology.Rejection{Reason: ReasonTombstone, Err: errors.New("the value is null")}
		}
		return in.delete(b.ctx)
	}
	return in.handle(b.ctx, r.Value)
}
