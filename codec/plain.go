package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/penstock/penstock/codec/decimal"
)

// Text is a string as its own bytes, which must be valid UTF-8 both ways. Nothing is trimmed or normalised.
func Text() Codec[string] { return textCodec{} }

type textCodec struct{}

var errUTF8 = errors.New("text is not valid UTF-8")

func (textCodec) Append(dst []byte, v string) ([]byte, error) {
	if !utf8.ValidString(v) {
		return dst, &Error{ReasonUTF8, errUTF8}
	}
	return append(dst, v...), nil
}

func (textCodec) Decode(src []byte) (string, error) {
	if !utf8.Valid(src) {
		return "", &Error{ReasonUTF8, errUTF8}
	}
	return string(src), nil
}

// Bytes is any bytes as they are. Decode returns a copy, never nil; nil and empty are encoded alike.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Append(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }

func (bytesCodec) Decode(src []byte) ([]byte, error) {
	if src == nil {
		return []byte{}, nil
	}
	return bytes.Clone(src), nil
}

// Decimal is an exact number as plain text, as [decimal.Decimal.Append] writes it. It reads any JSON number.
func Decimal() Codec[decimal.Decimal] { return decimalCodec{} }

type decimalCodec struct{}

func (decimalCodec) Append(dst []byte, v decimal.Decimal) ([]byte, error) { return v.Append(dst), nil }

func (decimalCodec) Decode(src []byte) (decimal.Decimal, error) {
	v, err := decimal.Parse(src)
	switch {
	case errors.Is(err, decimal.ErrRange):
		return v, &Error{ReasonAmountRange, err}
	case err != nil:
		return v, &Error{ReasonAmount, err}
	}
	return v, nil
}

// Int64 is 8 bytes, big endian, two's complement, as Kafka's own LongSerializer writes.
func Int64() Codec[int64] { return int64Codec{} }

type int64Codec struct{}

func (int64Codec) Append(dst []byte, v int64) ([]byte, error) {
	return binary.BigEndian.AppendUint64(dst, uint64(v)), nil
}

func (int64Codec) Decode(src []byte) (int64, error) {
	if len(src) != 8 {
		return 0, &Error{ReasonSize, fmt.Errorf("an integer of 64 bits has 8 bytes, this value %d", len(src))}
	}
	return int64(binary.BigEndian.Uint64(src)), nil
}

// Int32 is 4 bytes, big endian, two's complement, as Kafka's own IntegerSerializer writes.
func Int32() Codec[int32] { return int32Codec{} }

type int32Codec struct{}

func (int32Codec) Append(dst []byte, v int32) ([]byte, error) {
	return binary.BigEndian.AppendUint32(dst, uint32(v)), nil
}

func (int32Codec) Decode(src []byte) (int32, error) {
	if len(src) != 4 {
		return 0, &Error{ReasonSize, fmt.Errorf("an integer of 32 bits has 4 bytes, this value %d", len(src))}
	}
	return int32(binary.BigEndian.Uint32(src)), nil
}
