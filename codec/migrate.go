package codec

import "errors"

// Migrate returns c, for values that an older codec wrote too: Decode tries c first and then each older one, and Append writes
// c's bytes. It changes the codec of a state, or of a topic, while old values are about. An old value that c decodes by
// chance is read as c's: text, say, that also is a number.
func Migrate[T any](c Codec[T], older ...Codec[T]) Codec[T] { return migrateCodec[T]{c, older} }

type migrateCodec[T any] struct {
	Codec[T]
	older []Codec[T]
}

// Decode's error is that of the present codec, unless one of them is unavailable.
func (c migrateCodec[T]) Decode(src []byte) (T, error) {
	v, first := c.Codec.Decode(src)
	if first == nil || errors.Is(first, ErrUnavailable) {
		return v, first
	}
	for _, old := range c.older {
		v, err := old.Decode(src)
		if err == nil || errors.Is(err, ErrUnavailable) {
			return v, err
		}
	}
	var zero T
	return zero, first
}

// Convert returns a codec of To that is written as inner's From: for a type that changed.
func Convert[From, To any](inner Codec[From], to func(From) To, from func(To) From) Codec[To] {
	return convertCodec[From, To]{inner, to, from}
}

type convertCodec[From, To any] struct {
	inner Codec[From]
	to    func(From) To
	from  func(To) From
}

func (c convertCodec[From, To]) Append(dst []byte, v To) ([]byte, error) {
	return c.inner.Append(dst, c.from(v))
}

func (c convertCodec[From, To]) Decode(src []byte) (To, error) {
	v, err := c.inner.Decode(src)
	if err != nil {
		var zero To
		return zero, err
	}
	return c.to(v), nil
}
