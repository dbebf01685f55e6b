package session

import "github.com/penstock/penstock/codec/decimal"

// Amount is money: exact, never rounded, in the range that package decimal documents.
type Amount = decimal.Decimal

// Transaction is one win of a session. A deposit is its last one.
type Transaction struct {
	SessionID string // not empty, valid UTF-8; its bytes are the identity, nothing is normalised
	WinAmount Amount
	Deposit   bool
}

// SessionTrackingValue is what is kept of an open session.
type SessionTrackingValue struct {
	TotalSum Amount
}

// SessionUpdate is a session's balance after a transaction.
type SessionUpdate struct {
	SessionID             string
	CurrentBalance        Amount
	DepositCurrentBalance bool // the session is closed by this update
}
