// Package avro is a codec for Apache Avro's binary encoding, by github.com/twmb/avro. A value is the encoding alone:
// framing with a schema id is that of package codec/registry.
//
// Lengths in a value that its bytes do not bear out, and values nested without end, are refused. Whether text is UTF-8 is left to
// the writer, and a boolean is true where its byte is 1.
package avro

import (
	"fmt"

	"github.com/twmb/avro"

	"github.com/penstock/penstock/codec"
)

// Reason is that of bytes that are no value of the schema, or of a Go value that does not fit it.
const Reason = "avro"

// New returns a codec for values of one schema, in JSON. T is a struct with avro tags, or what else
// github.com/twmb/avro maps to the schema:
//
//	type Order struct {
//		ID    string `avro:"id"`
//		Items int64  `avro:"items"`
//	}
//	orders, err := avro.New[Order](`{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"items","type":"long"}]}`)
//
// The entries of a map have no order, so that equal maps may have unequal bytes.
func New[T any](schema string) (codec.Codec[T], error) { return Resolve[T](schema, schema) }

// Must returns the codec of New or Resolve, and panics on an error: for schemas that are constants.
func Must[T any](c codec.Codec[T], err error) codec.Codec[T] {
	if err != nil {
		panic(err)
	}
	return c
}

// Resolve returns a codec that reads values of the writer's schema as those of the reader's, by Avro's rules of schema
// resolution, and writes the reader's: values that an older or newer program wrote.
func Resolve[T any](reader, writer string) (codec.Codec[T], error) {
	r, err := avro.Parse(reader)
	if err != nil {
		return nil, fmt.Errorf("parse schema %s: %w", reader, err)
	}
	c := &schemaCodec[T]{write: r, read: r}
	if reader == writer {
		return c, nil
	}
	w, err := avro.Parse(writer)
	if err != nil {
		return nil, fmt.Errorf("parse schema %s: %w", writer, err)
	}
	if c.read, err = avro.Resolve(w, r); err != nil {
		return nil, fmt.Errorf("resolve schema %s from %s: %w", reader, writer, err)
	}
	return c, nil
}

type schemaCodec[T any] struct {
	write, read *avro.Schema
}

func (c *schemaCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	out, err := c.write.AppendEncode(dst, &v)
	if err != nil {
		return dst, &codec.Error{Reason: Reason, Err: err}
	}
	return out, nil
}

func (c *schemaCodec[T]) Decode(src []byte) (T, error) {
	var v, zero T
	rest, err := c.read.Decode(src, &v)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the value", len(rest))
	}
	if err != nil {
		return zero, &codec.Error{Reason: Reason, Err: err}
	}
	return v, nil
}
