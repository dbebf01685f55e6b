package session

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/codec/jsonscan"
)

// appendID appends id as a JSON string with no more escapes than JSON asks for.
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

// appendBool appends the last field of an object.
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
