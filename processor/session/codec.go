package session

import (
	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/jsonscan"
)

// TransactionJSON is the codec of
//
//	{"sessionId":"session1","winAmount":100,"deposit":false}
//
// Names are case-sensitive, in any order; a name twice is an error, unknown names are ignored. sessionId is a string
// that is not empty, winAmount a number (not a number in a string). An absent or null deposit is false, anything else
// that is no boolean an error. Append writes the shape above, without blanks.
func TransactionJSON() codec.Codec[Transaction] { return transactionJSON{} }

type transactionJSON struct{}

func (transactionJSON) Append(dst []byte, v Transaction) ([]byte, error) {
	out, err := appendID(append(dst, `{"sessionId":`...), v.SessionID)
	if err != nil {
		return dst, err
	}
	out = v.WinAmount.Append(append(out, `,"winAmount":`...))
	return appendBool(append(out, `,"deposit":`...), v.Deposit), nil
}

func (transactionJSON) Decode(src []byte) (Transaction, error) {
	if v, ok := plainTransaction(src); ok {
		return v, nil
	}
	return scanTransaction(src)
}

func scanTransaction(src []byte) (Transaction, error) {
	var v Transaction
	var err error
	var hasID, hasAmount bool
	s := jsonscan.New(src)
	for err == nil && s.Next() {
		switch string(s.Name()) {
		case "sessionId":
			hasID = true
			v.SessionID, err = scanID(&s)
		case "winAmount":
			hasAmount = true
			v.WinAmount, err = scanAmount(&s)
		case "deposit":
			if s.Kind() != 'n' {
				v.Deposit, err = scanBool(&s)
			}
		}
	}
	if err = firstError(s.Err(), err, present("sessionId", hasID), present("winAmount", hasAmount)); err != nil {
		return Transaction{}, err
	}
	return v, nil
}

// SessionTrackingValueJSON is the codec of
//
//	{"totalSum":100}
func SessionTrackingValueJSON() codec.Codec[SessionTrackingValue] { return trackingJSON{} }

type trackingJSON struct{}

func (trackingJSON) Append(dst []byte, v SessionTrackingValue) ([]byte, error) {
	return append(v.TotalSum.Append(append(dst, `{"totalSum":`...)), '}'), nil
}

func (trackingJSON) Decode(src []byte) (SessionTrackingValue, error) {
	if v, ok := plainTracking(src); ok {
		return v, nil
	}
	return scanTracking(src)
}

func scanTracking(src []byte) (SessionTrackingValue, error) {
	var v SessionTrackingValue
	var err error
	var hasSum bool
	s := jsonscan.New(src)
	for err == nil && s.Next() {
		if string(s.Name()) == "totalSum" {
			hasSum = true
			v.TotalSum, err = scanAmount(&s)
		}
	}
	if err = firstError(s.Err(), err, present("totalSum", hasSum)); err != nil {
		return SessionTrackingValue{}, err
	}
	return v, nil
}

// SessionUpdateJSON is the codec of
//
//	{"sessionId":"session1","currentBalance":100,"depositCurrentBalance":false}
//
// All three fields are required; otherwise the rules of TransactionJSON hold.
func SessionUpdateJSON() codec.Codec[SessionUpdate] { return updateJSON{} }

type updateJSON struct{}

func (updateJSON) Append(dst []byte, v SessionUpdate) ([]byte, error) {
	out, err := appendID(append(dst, `{"sessionId":`...), v.SessionID)
	if err != nil {
		return dst, err
	}
	out = v.CurrentBalance.Append(append(out, `,"currentBalance":`...))
	return appendBool(append(out, `,"depositCurrentBalance":`...), v.DepositCurrentBalance), nil
}

func (updateJSON) Decode(src []byte) (SessionUpdate, error) {
	var v SessionUpdate
	var err error
	var hasID, hasBalance, hasClosed bool
	s := jsonscan.New(src)
	for err == nil && s.Next() {
		switch string(s.Name()) {
		case "sessionId":
			hasID = true
			v.SessionID, err = scanID(&s)
		case "currentBalance":
			hasBalance = true
			v.CurrentBalance, err = scanAmount(&s)
		case "depositCurrentBalance":
			hasClosed = true
			v.DepositCurrentBalance, err = scanBool(&s)
		}
	}
	err = firstError(s.Err(), err, present("sessionId", hasID), present("currentBalance", hasBalance),
		present("depositCurrentBalance", hasClosed))
	if err != nil {
		return SessionUpdate{}, err
	}
	return v, nil
}
