package codec

import "errors"

// Reasons why bytes are not a value, or a value has no bytes. They are words of a contract: they stand in the header
// penstock.error.reason of a dead letter and in metrics.
const (
	ReasonDecode        = "decode"         // an error that names no reason of its own
	ReasonJSON          = "json"           // not one JSON value, bytes follow it, or a Go value has no JSON
	ReasonCSV           = "csv"            // not one line of CSV, or a wrong number of fields
	ReasonUTF8          = "utf8"           // invalid UTF-8, or half a surrogate pair
	ReasonDuplicateName = "duplicate-name" // a JSON object has a name twice
	ReasonMissingField  = "missing-field"  // a required field is absent or null
	ReasonWrongType     = "wrong-type"     // a field, or the whole, has another type than it must
	ReasonEmptyID       = "empty-id"       // an id of no bytes
	ReasonAmount        = "amount"         // an amount that is not a plain decimal number
	ReasonAmountRange   = "amount-range"   // an amount that cannot be held exactly
	ReasonSize          = "size"           // a value of fixed size has another one
	ReasonSchemaFraming = "schema-framing" // a Schema Registry id comes before the value; see StripSchemaID
)

// ErrUnavailable is wrapped by the error of a codec that cannot tell now whether bytes are a value, such as one whose schema
// registry does not answer. It rejects no record: the transaction is dropped, and its records are handled again.
var ErrUnavailable = errors.New("the codec cannot tell at the moment")

// Error says why a value could not be decoded or encoded.
type Error struct {
	Reason string // one of the Reason constants
	Err    error  // for a person; never nil
}

func (e *Error) Error() string { return e.Reason + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// Reason returns the reason of the first *Error in err's chain, [ReasonDecode] where there is none.
func Reason(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ReasonDecode
}
