// Package registry frames values with the id of their schema, as the serializers of Confluent Schema Registry do: a zero
// byte, the id in 4 bytes, big endian, for Protobuf the message's index, and the value. The registry's client is
// github.com/twmb/franz-go/pkg/sr.
//
//	client, err := sr.NewClient(sr.URLs("http://registry:8081"))
//	orders, err := registry.New(ctx, registry.Config[Order]{
//		Client: client, Subject: "orders-value", Schema: sr.Schema{Schema: orderSchema, Type: sr.TypeAvro},
//		Format: func(writer sr.Schema) (codec.Codec[Order], error) { return avro.Resolve[Order](orderSchema, writer.Schema) },
//	})
//
// An id is asked for once in the life of the codec. A registry that does not answer rejects no record: the error wraps
// codec.ErrUnavailable, and the record is handled again. References between schemas are not followed.
package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/penstock/penstock/codec"
)

// Reason is that of values without framing, or whose schema is not known, not readable, or of another message.
const Reason = "schema"

// Limits of the look-ups.
const (
	lookupTimeout = 5 * time.Second
	unknownFor    = time.Minute // how long an id that the registry does not know is not asked for again
	unknownMax    = 1000        // ids
)

// Config says how values of T are framed.
type Config[T any] struct {
	Client *sr.Client
	// Subject is where Schema is registered; by convention TOPIC-value.
	Subject string
	// Schema is that of the values written. New registers it where it is missing. Empty: the codec only reads.
	Schema sr.Schema
	// Format makes the codec for values that were written with a schema.
	Format func(writer sr.Schema) (codec.Codec[T], error)
	// Index is, for Protobuf, the message's place in the schema's file: [0] for the first one.
	Index []int
}

// Same is a Format for a codec that reads values of every schema, such as JSON or Protobuf.
func Same[T any](c codec.Codec[T]) func(sr.Schema) (codec.Codec[T], error) {
	return func(sr.Schema) (codec.Codec[T], error) { return c, nil }
}

// New returns a codec. It asks the registry for the schema's id, until ctx is done.
func New[T any](ctx context.Context, cfg Config[T]) (codec.Codec[T], error) {
	c := &framed[T]{Config: cfg}
	c.known.Store(&map[int]schema[T]{})
	if cfg.Schema.Schema == "" {
		return c, nil
	}
	registered, err := cfg.Client.CreateSchema(ctx, cfg.Subject, cfg.Schema)
	if err != nil {
		return nil, fmt.Errorf("register the schema of subject %s: %w", cfg.Subject, err)
	}
	inner, err := cfg.Format(cfg.Schema)
	if err != nil {
		return nil, fmt.Errorf("format of subject %s: %w", cfg.Subject, err)
	}
	c.id, c.writer = registered.ID, inner
	c.learn(registered.ID, schema[T]{codec: inner, indexed: cfg.Schema.Type == sr.TypeProtobuf})
	return c, nil
}

type framed[T any] struct {
	Config[T]
	id     int
	writer codec.Codec[T] // nil: it only reads

	mu    sync.Mutex // of learn
	known atomic.Pointer[map[int]schema[T]]
}

// schema is what is known of an id.
type schema[T any] struct {
	codec   codec.Codec[T]
	indexed bool      // a message's index follows the id
	err     error     // instead of a codec
	until   time.Time // when the error is forgotten
}

var header sr.ConfluentHeader

func (c *framed[T]) Append(dst []byte, v T) ([]byte, error) {
	if c.writer == nil {
		return dst, fail(fmt.Errorf("the codec of subject %s has no schema to write with", c.Subject))
	}
	out, err := header.AppendEncode(dst, c.id, c.Index)
	if err == nil {
		out, err = c.writer.Append(out, v)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (c *framed[T]) Decode(src []byte) (T, error) {
	var zero T
	id, rest, err := header.DecodeID(src)
	if err != nil {
		return zero, fail(errors.New("the value is not framed with a schema id"))
	}
	s, err := c.lookup(id)
	if err != nil {
		return zero, err
	}
	if s.indexed {
		var index []int
		index, rest, err = header.DecodeIndex(rest, max(1, len(c.Index)))
		if err != nil || !slices.Equal(index, c.Index) {
			return zero, fail(fmt.Errorf("message %v of schema %d, want %v: %w", index, id, c.Index, errors.Join(err)))
		}
	}
	return s.codec.Decode(rest)
}

func (c *framed[T]) lookup(id int) (schema[T], error) {
	s, ok := (*c.known.Load())[id]
	if ok && (s.err == nil || time.Now().Before(s.until)) {
		return s, s.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	writer, err := c.Client.SchemaByID(ctx, id)
	var answer *sr.ResponseError
	switch {
	case err == nil:
		s = schema[T]{indexed: writer.Type == sr.TypeProtobuf}
		if s.codec, err = c.Format(writer); err != nil {
			s = schema[T]{err: fail(fmt.Errorf("schema %d: %w", id, err)), until: time.Now().Add(unknownFor)}
		}
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		s = schema[T]{err: fail(fmt.Errorf("schema %d: %w", id, err)), until: time.Now().Add(unknownFor)}
	default:
		return schema[T]{}, fmt.Errorf("%w: look up schema %d: %w", codec.ErrUnavailable, id, err)
	}
	c.learn(id, s)
	return s, s.err
}

// learn keeps what is known of an id, and forgets the unknown ones when they are many.
func (c *framed[T]) learn(id int, s schema[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := maps.Clone(*c.known.Load())
	if len(next) >= unknownMax {
		maps.DeleteFunc(next, func(_ int, s schema[T]) bool { return s.err != nil })
	}
	next[id] = s
	c.known.Store(&next)
}

func fail(err error) error { return &codec.Error{Reason: Reason, Err: err} }
