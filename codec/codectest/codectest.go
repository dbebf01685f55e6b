// Package codectest is the suite that every codec passes.
package codectest

import (
	"bytes"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/codec"
)

// Run checks that each value comes back equal from its bytes and that c keeps the contract of [codec.Codec]: Append
// leaves what is in front alone, Decode neither changes nor keeps its source, equal values have equal bytes, many
// goroutines may use c at once, and damaged bytes give an error with a reason or a value, never a panic.
func Run[T any](t *testing.T, c codec.Codec[T], values ...T) {
	t.Helper()
	RunEqual(t, c, deepEqual[T], values...)
}

func deepEqual[T any](a, b T) bool { return reflect.DeepEqual(a, b) }

// RunEqual is Run for values that reflect.DeepEqual cannot compare.
func RunEqual[T any](t *testing.T, c codec.Codec[T], equal func(a, b T) bool, values ...T) {
	t.Helper()
	s := suite[T]{c, equal}
	for _, v := range values {
		encoded, err := c.Append(nil, v)
		require.NoError(t, err, "append %v", v)

		t.Run("round trip", func(t *testing.T) { s.roundTrip(t, v, encoded) })
		t.Run("append keeps the prefix", func(t *testing.T) { s.appendsBehind(t, v, encoded) })
		t.Run("decode keeps nothing of the source", func(t *testing.T) { s.keepsNothing(t, v, encoded) })
		t.Run("damage is an error or a value", func(t *testing.T) { s.survivesDamage(t, encoded) })
	}
	t.Run("concurrent use", func(t *testing.T) { s.concurrent(t, values) })
}

// Fuzz starts from the encodings of values and checks for any bytes: Decode returns an *codec.Error and the zero value,
// or a value whose own bytes decode to an equal value and are encoded alike again.
func Fuzz[T any](f *testing.F, c codec.Codec[T], values ...T) {
	f.Helper()
	FuzzEqual(f, c, deepEqual[T], values...)
}

// FuzzEqual is Fuzz for values that reflect.DeepEqual cannot compare.
func FuzzEqual[T any](f *testing.F, c codec.Codec[T], equal func(a, b T) bool, values ...T) {
	f.Helper()
	s := suite[T]{c, equal}
	for _, v := range values {
		encoded, err := c.Append(nil, v)
		require.NoError(f, err, "append %v", v)
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, src []byte) { s.checkBytes(t, src) })
}

type suite[T any] struct {
	codec codec.Codec[T]
	equal func(a, b T) bool
}

// CheckBytes is the check of Fuzz for one source.
func CheckBytes[T any](t *testing.T, c codec.Codec[T], src []byte) {
	t.Helper()
	suite[T]{c, deepEqual[T]}.checkBytes(t, src)
}

func (s suite[T]) checkBytes(t *testing.T, src []byte) {
	t.Helper()
	c := s.codec
	before := bytes.Clone(src)
	v, err := c.Decode(src)
	require.Equal(t, before, src, "decode changed its source")
	if err != nil {
		var e *codec.Error
		require.True(t, errors.As(err, &e), "%q: %T is no *codec.Error", src, err)
		require.NotEmpty(t, e.Reason, "%q", src)
		require.NotEmpty(t, err.Error(), "%q", src)
		require.True(t, reflect.ValueOf(&v).Elem().IsZero(), "%q: a value beside the error %v", src, err)
		return
	}
	encoded, err := c.Append(nil, v)
	require.NoError(t, err, "%q decodes to %v, which cannot be encoded", src, v)
	s.roundTrip(t, v, encoded)
}

func (s suite[T]) roundTrip(t *testing.T, v T, encoded []byte) {
	t.Helper()
	c := s.codec
	back, err := c.Decode(bytes.Clone(encoded))
	require.NoError(t, err, "decode %q", encoded)
	require.True(t, s.equal(v, back), "%v through %q is %v", v, encoded, back)
	again, err := c.Append(nil, back)
	require.NoError(t, err)
	require.Equal(t, string(encoded), string(again), "equal values, equal bytes")
}

func (s suite[T]) appendsBehind(t *testing.T, v T, encoded []byte) {
	c := s.codec
	for _, room := range []int{0, 4096} {
		dst := append(make([]byte, 0, len("prefix")+room), "prefix"...)
		out, err := c.Append(dst, v)
		require.NoError(t, err)
		require.Equal(t, "prefix"+string(encoded), string(out))
		require.Equal(t, "prefix", string(dst))
		if room >= len(encoded) {
			require.Same(t, &dst[0], &out[0], "room enough, and yet the slice was moved")
		}
	}
}

func (s suite[T]) keepsNothing(t *testing.T, v T, encoded []byte) {
	c := s.codec
	src := bytes.Clone(encoded)
	back, err := c.Decode(src)
	require.NoError(t, err)
	require.Equal(t, encoded, src, "decode changed its source")
	for i := range src {
		src[i] = '#'
	}
	require.True(t, s.equal(v, back), "%v changed with its source to %v", v, back)
}

func (s suite[T]) survivesDamage(t *testing.T, encoded []byte) {
	for i := range min(len(encoded), 256) {
		s.checkBytes(t, encoded[:i:i])
		for _, b := range []byte{0, ' ', '"', '\\', '\n', 0xff, encoded[i] ^ 1} {
			damaged := bytes.Clone(encoded)
			damaged[i] = b
			s.checkBytes(t, damaged)
		}
	}
	s.checkBytes(t, nil)
}

func (s suite[T]) concurrent(t *testing.T, values []T) {
	c := s.codec
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				for _, v := range values {
					encoded, _ := c.Append(nil, v)
					if back, err := c.Decode(encoded); err != nil || !s.equal(v, back) {
						t.Errorf("%v came back as %v, %v", v, back, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
