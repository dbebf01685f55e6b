package session

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/decimal"
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

func appendID(dst []byte, id string) ([]byte, error) {
	if id == "" {
		return dst, errEmptyID
	}
	if plainLen(id) == len(id) {
		return append(append(append(dst, '"'), id...), '"'), nil
	}
	out, err := jsontext.AppendQuote(dst, id)
	if err != nil {
		return dst, &codec.Error{Reason: codec.ReasonUTF8, Err: fmt.Errorf("session id %.80q: %w", id, err)}
	}
	return out, nil
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, "true}"...)
	}
	return append(dst, "false}"...)
}

var errEmptyID = &codec.Error{Reason: codec.ReasonEmptyID, Err: errors.New("session id is empty")}

func scanID(s *jsonscan.Scanner) (string, error) {
	switch {
	case s.Kind() != '"':
		return "", mistyped(s, "a string")
	case len(s.Text()) == 0:
		return "", errEmptyID
	}
	return string(s.Text()), nil
}

func scanAmount(s *jsonscan.Scanner) (Amount, error) {
	if s.Kind() != '0' {
		return Amount{}, mistyped(s, "a number")
	}
	return parseAmount(s.Raw())
}

func scanBool(s *jsonscan.Scanner) (bool, error) {
	if s.Kind() != 't' && s.Kind() != 'f' {
		return false, mistyped(s, "true or false")
	}
	return s.Kind() == 't', nil
}

func parseAmount(src []byte) (Amount, error) {
	v, err := decimal.Parse(src)
	switch {
	case err == nil:
		return v, nil
	case errors.Is(err, decimal.ErrRange):
		return v, &codec.Error{Reason: codec.ReasonAmountRange, Err: err}
	}
	return v, &codec.Error{Reason: codec.ReasonAmount, Err: err}
}

func mistyped(s *jsonscan.Scanner, want string) error {
	if s.Kind() == 'n' {
		return &codec.Error{Reason: codec.ReasonMissingField, Err: fmt.Errorf("field %q is null", s.Name())}
	}
	return &codec.Error{Reason: codec.ReasonWrongType, Err: fmt.Errorf("field %q must be %s, is %.40q", s.Name(), want, s.Raw())}
}

func present(field string, found bool) error {
	if found {
		return nil
	}
	return &codec.Error{Reason: codec.ReasonMissingField, Err: fmt.Errorf("field %q is missing", field)}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
