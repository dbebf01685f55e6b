package codec

import (
	"encoding/binary"
	"fmt"
)

// schemaPrefix is the size in bytes of Confluent Schema Registry framing: a zero byte and a big-endian schema id.
// https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
const schemaPrefix = 5

// SchemaID returns the schema id when src starts with Schema Registry framing and something follows it.
func SchemaID(src []byte) (id uint32, ok bool) {
	if len(src) <= schemaPrefix || src[0] != 0 {
		return 0, false
	}
	return binary.BigEndian.Uint32(src[1:schemaPrefix]), true
}

// CheckFraming returns an error of reason [ReasonSchemaFraming] that names the schema id when src is framed, else nil.
// Decoders of text formats, where no value starts with a zero byte, ask it first or when they fail.
func CheckFraming(src []byte) error {
	id, ok := SchemaID(src)
	if !ok {
		return nil
	}
	return &Error{ReasonSchemaFraming, fmt.Errorf(
		"value is behind Schema Registry framing with schema id %d; strip it to read the value", id)}
}

// StripSchemaID returns inner with Schema Registry framing taken off before decoding, where it is present; values
// without it are decoded as they are. The schema id is not looked up. Append writes no framing. Inner must be of a
// text format, where no value starts with a zero byte.
func StripSchemaID[T any](inner Codec[T]) Codec[T] { return stripCodec[T]{inner} }

type stripCodec[T any] struct{ inner Codec[T] }

func (c stripCodec[T]) Append(dst []byte, v T) ([]byte, error) { return c.inner.Append(dst, v) }

func (c stripCodec[T]) Decode(src []byte) (T, error) {
	if _, ok := SchemaID(src); ok {
		src = src[schemaPrefix:]
	}
	return c.inner.Decode(src)
}
