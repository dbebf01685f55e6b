// Package session is the custom session window: it sums the wins of each session and closes it when a deposit arrives or
// when it has fallen silent. It is written on package processor like any user's program.
package session

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
)

// Config names the window's edges.
type Config struct {
	ID     string // application id
	Input  string // topic of Transactions, keyed by session id
	Output string // topic of SessionUpdates, keyed by session id

	Format  codec.Codec[Transaction] // nil: TransactionJSON
	Updates Updates
	// Repartition gives the input's records their key, the session id, by way of a topic of the application's own: see
	// [processor.HandleBy].
	Repartition bool
	// Idle closes a session that has seen no transaction for that long, on the wall clock; 0: never.
	Idle time.Duration
}

// Updates says which transactions yield a SessionUpdate. A closing update is always sent.
type Updates int

const (
	UpdatesEvery   Updates = iota // one for each transaction
	UpdatesLast                   // the last of a session in each commit
	UpdatesClosing                // deposits only
)

// ParseUpdates reads "every", "last" or "closing".
func ParseUpdates(s string) (Updates, error) {
	for i, name := range updatesNames {
		if s == name {
			return Updates(i), nil
		}
	}
	return 0, fmt.Errorf("updates %q: use every, last or closing", s)
}

func (u Updates) String() string { return updatesNames[u] }

var updatesNames = [...]string{"every", "last", "closing"}

// CloseReason is the header of a closing update that says why the session ended: [ClosedByDeposit] or [ClosedByIdle].
const (
	CloseReason     = "penstock.close.reason"
	ClosedByDeposit = "deposit"
	ClosedByIdle    = "idle-timeout"
)

// StateName is the state that holds the sums of open sessions, by session id.
const StateName = "total"

// Reasons of this package for a rejected transaction.
const (
	ReasonKeyMismatch = "key-mismatch"          // the record's key is not the session id
	ReasonAmountRange = codec.ReasonAmountRange // the sum leaves the range of an Amount
)

// Window declares the session window.
func Window(cfg Config) *processor.App {
	if cfg.Format == nil {
		cfg.Format = TransactionJSON()
	}
	app := processor.New(cfg.ID)
	total := processor.NewState(app, StateName, SessionTrackingValueJSON())
	updates := processor.NewOutput(app, cfg.Output, SessionUpdateJSON())
	byDeposit, byIdle := processor.Header(CloseReason, ClosedByDeposit), processor.Header(CloseReason, ClosedByIdle)

	closeSession := func(c *processor.Context, balance Amount, reason processor.EmitOption) {
		total.Remove(c)
		updates.Emit(c, SessionUpdate{c.Key(), balance, true}, reason)
	}
	var idle processor.Timer
	if cfg.Idle > 0 { // a timer has a topic: it is declared only where it is used
		idle = processor.NewTimer(app, "idle", processor.WallClock, func(c *processor.Context) error {
			if sum, open := total.Get(c); open {
				closeSession(c, sum.TotalSum, byIdle)
			}
			return nil
		})
	}
	handle := func(c *processor.Context, tx Transaction) error {
		if tx.SessionID != c.Key() {
			return processor.Reject(ReasonKeyMismatch, fmt.Errorf("key %q, session id %q", c.Key(), tx.SessionID))
		}
		sum, _ := total.Get(c) // the zero value when the session is new
		balance, err := sum.TotalSum.Add(tx.WinAmount)
		if err != nil {
			return processor.Reject(ReasonAmountRange, err)
		}
		if tx.Deposit {
			if cfg.Idle > 0 {
				idle.Cancel(c)
			}
			closeSession(c, balance, byDeposit)
			return nil
		}
		total.Set(c, SessionTrackingValue{balance})
		if cfg.Idle > 0 {
			idle.Set(c, c.Now().Add(cfg.Idle))
		}
		switch cfg.Updates {
		case UpdatesEvery:
			updates.Emit(c, SessionUpdate{tx.SessionID, balance, false})
		case UpdatesLast:
			updates.EmitLatest(c, SessionUpdate{tx.SessionID, balance, false})
		}
		return nil
	}
	if cfg.Repartition {
		processor.HandleBy(app, cfg.Input, cfg.Format, func(tx Transaction) []byte { return []byte(tx.SessionID) }, handle)
	} else {
		processor.Handle(app, cfg.Input, cfg.Format, handle)
	}
	return app
}
