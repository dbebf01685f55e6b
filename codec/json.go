package codec

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/codec/decimal"
)

// JSON is any Go value as JSON by the rules of github.com/go-json-experiment/json: names are case-sensitive; duplicate
// names, invalid UTF-8, half a surrogate pair and bytes after the value are errors; unknown names are ignored. Blanks
// and line ends around the value and a UTF-8 byte order mark before it are not data. Map entries are written in the
// order of their names, so that equal values have equal bytes. A time.Duration needs a format in its tag, as in
// `json:"took,format:sec"`, since none goes without saying.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	if err := json.MarshalWrite(buf, &v, json.Deterministic(true)); err != nil {
		return dst, &Error{ReasonJSON, err}
	}
	return buf.Bytes(), nil
}

func (jsonCodec[T]) Decode(src []byte) (T, error) {
	var v T
	if err := json.Unmarshal(TrimBOM(src), &v); err != nil {
		var zero T
		return zero, explainUnmarshal(src, err)
	}
	return v, nil
}

// JSONLenient is [JSON] for producers that are careless: names match whatever their case, the last of two equal names counts, and
// invalid UTF-8 becomes U+FFFD. It writes what JSON writes.
func JSONLenient[T any]() Codec[T] { return lenientCodec[T]{} }

type lenientCodec[T any] struct{ jsonCodec[T] }

var lenient = json.JoinOptions(json.MatchCaseInsensitiveNames(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

func (lenientCodec[T]) Decode(src []byte) (T, error) {
	var v, zero T
	err := json.Unmarshal(TrimBOM(src), &v, lenient)
	if err == nil {
		return v, nil
	}
	if framed := CheckFraming(src); framed != nil {
		return zero, framed
	}
	if _, syntax := jsontext.AppendFormat(nil, TrimBOM(src), lenient); syntax != nil {
		return zero, &Error{ReasonJSON, syntax}
	}
	return zero, explainValue(err)
}

func explainUnmarshal(src []byte, err error) error {
	if e := CheckJSON(src); e != nil {
		return e
	}
	return explainValue(err)
}

// explainValue is for JSON that is no T.
func explainValue(err error) error {
	switch {
	case errors.Is(err, decimal.ErrRange):
		return &Error{ReasonAmountRange, err}
	case errors.Is(err, decimal.ErrSyntax):
		return &Error{ReasonAmount, err}
	}
	return &Error{ReasonWrongType, err}
}

// CheckJSON returns nil when src is one strict JSON value as [JSON] reads it, else the error that says what is wrong:
// of reason [ReasonSchemaFraming], [ReasonJSON], [ReasonUTF8] or [ReasonDuplicateName], in this order.
func CheckJSON(src []byte) error {
	if err := CheckFraming(src); err != nil {
		return err
	}
	lax := []jsontext.Options{jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)}
	for i, reason := range [...]string{ReasonJSON, ReasonUTF8, ReasonDuplicateName} {
		if _, err := jsontext.AppendFormat(nil, TrimBOM(src), lax[i:]...); err != nil {
			return &Error{reason, err}
		}
	}
	return nil
}

// TrimBOM returns src without a UTF-8 byte order mark at its start.
func TrimBOM(src []byte) []byte { return bytes.TrimPrefix(src, []byte("\xef\xbb\xbf")) }
