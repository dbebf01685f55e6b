// Package avro is a codec for Apache Avro's binary encoding, by github.com/hamba/avro/v2. A value is the encoding alone:
// framing with a schema id is that of package codec/registry.
//
// A crafted record can cost that decoder much time or memory (GO-2026-5046, -5047, -5048; no version of it is without): do
// not read with it what a producer writes that is not trusted.
package avro

import (
	"fmt"
	"sync"

	"github.com/hamba/avro/v2"

	"github.com/penstock/penstock/codec"
)

// Reason is that of bytes that are no value of the schema, or of a Go value that does not fit it.
const Reason = "avro"

// New returns a codec for values of one schema, in JSON. T is a struct with avro tags, or what else
// github.com/hamba/avro/v2 maps to the schema:
//
//	type Order struct {
//		ID    string `avro:"id"`
//		Items int64  `avro:"items"`
//	}
//	orders, err := avro.New[Order](`{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"items","type":"long"}]}`)
//
// Lengths within a value are compared with its size before anything of that length is made. The entries of a map have no
// order, so that equal maps may have unequal bytes.
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
	r, err := parse(reader)
	if err != nil {
		return nil, err
	}
	w, err := parse(writer)
	if err != nil {
		return nil, err
	}
	resolved := r
	if reader != writer {
		if resolved, err = avro.NewSchemaCompatibility().Resolve(r, w); err != nil {
			return nil, fmt.Errorf("resolve schema %s from %s: %w", reader, writer, err)
		}
	}
	c := &schemaCodec[T]{write: r, read: resolved, stored: w}
	c.writers.New = func() any { return avro.NewWriter(nil, 512, avro.WithWriterConfig(api)) }
	return c, nil
}

// parse reads a schema with a cache of its own: a name may mean something else in another schema.
func parse(schema string) (avro.Schema, error) {
	s, err := avro.ParseBytesWithCache([]byte(schema), "", &avro.SchemaCache{})
	if err != nil {
		return nil, fmt.Errorf("parse schema %s: %w", schema, err)
	}
	return s, nil
}

// api has no limits of its own, since check goes before it.
var api = avro.Config{MaxByteSliceSize: -1}.Freeze()

type schemaCodec[T any] struct {
	write   avro.Schema
	read    avro.Schema // resolved from stored
	stored  avro.Schema
	writers sync.Pool // of *avro.Writer
}

func (c *schemaCodec[T]) Append(dst []byte, v T) ([]byte, error) {
	w := c.writers.Get().(*avro.Writer)
	defer c.writers.Put(w)
	w.Reset(nil)
	w.Error = nil
	w.WriteVal(c.write, v)
	if w.Error != nil {
		return dst, &codec.Error{Reason: Reason, Err: w.Error}
	}
	return append(dst, w.Buffer()...), nil
}

func (c *schemaCodec[T]) Decode(src []byte) (T, error) {
	var v, zero T
	rest, err := check(c.stored, src, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the value", len(rest))
	}
	if err == nil {
		err = api.Unmarshal(c.read, src, &v)
	}
	if err != nil {
		return zero, &codec.Error{Reason: Reason, Err: err}
	}
	return v, nil
}
