// Package codec turns bytes into values and back. It does no I/O and knows nothing of Kafka.
//
// Codecs here are strict: what they cannot read exactly is an [*Error] whose reason is one short fixed word, never a
// guess. Packages codec/decimal, codec/jsonscan and codec/csvline are the parts to write a fast codec by hand with;
// codec/codectest is the suite that every codec passes.
package codec

// A Codec encodes and decodes values of one type. It holds no state: one codec may be used by many goroutines.
type Codec[T any] interface {
	// Append appends the encoding of v to dst and returns the extended slice, which is the caller's. On an error it
	// returns dst as it was.
	Append(dst []byte, v T) ([]byte, error)

	// Decode reads one value that fills src. It neither changes src nor keeps it: the value stays as it is when src is
	// overwritten. On an error, which is an *Error or wraps ErrUnavailable, the value is the zero value.
	Decode(src []byte) (T, error)
}
