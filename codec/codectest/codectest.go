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
	for _, v := range values {
		encoded, err := c.Append(nil, v)
		require.NoError(t, err, "append %v", v)

		t.Run("round trip", func(t *testing.T) { roundTrip(t, c, v, encoded) })
		t.Run("append keeps the prefix", func(t *testing.T) { appendsBehind(t, c, v, encoded) })
		t.Run("decode keeps nothing of the source", func(t *testing.T) { keepsNothing(t, c, v, encoded) })
		t.Run("damage is an error or a value", func(t *testing.T) { survivesDamage(t, c, encoded) })
	}
	t.Run("concurrent use", func(t *testing.T) { concurrent(t, c, values) })
}

// Fuzz starts from the encodings of values and checks for any bytes: Decode returns an *codec.Error and the zero value,
// or a value whose own bytes decode to an equal value and are encoded alike again.
func Fuzz[T any](f *testing.F, c codec.Codec[T], values ...T) {
	f.Helper()
	for _, v := range values {
		encoded, err := c.Append(nil, v)
		require.NoError(f, err, "append %v", v)
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, src []byte) { CheckBytes(t, c, src) })
}

// CheckBytes is the check of Fuzz for one source.
func CheckBytes[T any](t *testing.T, c codec.Codec[T], src []byte) {
	t.Helper()
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
	roundTrip(t, c, v, encoded)
}

func roundTrip[T any](t *testing.T, c codec.Codec[T], v T, encoded []byte) {
	t.Helper()
	back, err := c.Decode(bytes.Clone(encoded))
	require.NoError(t, err, "decode %q", encoded)
	require.Equal(t, v, back, "through %q", encoded)
	again, err := c.Append(nil, back)
	require.NoError(t, err)
	require.Equal(t, string(encoded), string(again), "equal values, equal bytes")
}

func appendsBehind[T any](t *testing.T, c codec.Codec[T], v T, encoded []byte) {
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

func keepsNothing[T any](t *testing.T, c codec.Codec[T], v T, encoded []byte) {
	src := bytes.Clone(encoded)
	back, err := c.Decode(src)
	require.NoError(t, err)
	require.Equal(t, encoded, src, "decode changed its source")
	for i := range src {
		src[i] = '#'
	}
	require.Equal(t, v, back, "the value changed with its source")
}

func survivesDamage[T any](t *testing.T, c codec.Codec[T], encoded []byte) {
	for i := range min(len(encoded), 256) {
		CheckBytes(t, c, encoded[:i:i])
		for _, b := range []byte{0, ' ', '"', '\\', '\n', 0xff, encoded[i] ^ 1} {
			damaged := bytes.Clone(encoded)
			damaged[i] = b
			CheckBytes(t, c, damaged)
		}
	}
	CheckBytes(t, c, nil)
}

func concurrent[T any](t *testing.T, c codec.Codec[T], values []T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				for _, v := range values {
					encoded, _ := c.Append(nil, v)
					if back, err := c.Decode(encoded); err != nil || !reflect.DeepEqual(v, back) {
						t.Errorf("%v came back as %v, %v", v, back, err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
