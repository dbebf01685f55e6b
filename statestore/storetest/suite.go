// Package storetest is the suite that every statestore.Store passes.
package storetest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Device is where a store's bytes lie. It outlives the stores that are opened on it.
type Device interface {
	// Open opens the store; the one opened before has been closed or crashed.
	Open() (statestore.Store, error)
	// Crash ends the open store as a power cut would.
	Crash()
}

// Run runs the suite on devices that make returns.
func Run(t *testing.T, make func(t *testing.T) Device) {
	t.Run("what is set is read", func(t *testing.T) { setAndGet(t, make(t)) })
	t.Run("a scan is in order and within its bounds", func(t *testing.T) { scan(t, make(t)) })
	t.Run("later operations win", func(t *testing.T) { laterWins(t, make(t)) })
	t.Run("calls beside each other see whole batches", func(t *testing.T) { concurrent(t, make(t)) })
	t.Run("a closed store says so", func(t *testing.T) { closed(t, make(t)) })
	t.Run("close and open keep everything", func(t *testing.T) { reopened(t, make(t)) })
	t.Run("a crash leaves a prefix with all that was flushed", func(t *testing.T) { crashed(t, make) })
	t.Run("equals a map", func(t *testing.T) { equalsAMap(t, make) })
}

func open(t require.TestingT, d Device) statestore.Store {
	s, err := d.Open()
	require.NoError(t, err)
	return s
}

func apply(t require.TestingT, s statestore.Store, fill func(b *statestore.Batch)) {
	var b statestore.Batch
	fill(&b)
	require.NoError(t, s.Apply(&b))
}

func content(t require.TestingT, s statestore.Store, lower, upper []byte) []string {
	var got []string
	require.NoError(t, s.Scan(lower, upper, func(k, v []byte) error {
		got = append(got, string(k)+"="+string(v))
		return nil
	}))
	return got
}

func setAndGet(t *testing.T, d Device) {
	s := open(t, d)
	apply(t, s, func(b *statestore.Batch) {
		b.Set([]byte("a"), []byte("1"))
		b.Set([]byte("empty"), nil)
	})
	v, ok, err := s.Get([]byte("x"), []byte("a"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "x1", string(v), "the value is appended")
	_, ok, err = s.Get(nil, []byte("empty"))
	require.NoError(t, err)
	require.True(t, ok)
	_, ok, err = s.Get(nil, []byte("b"))
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, s.Close())
}

func scan(t *testing.T, d Device) {
	s := open(t, d)
	apply(t, s, func(b *statestore.Batch) {
		for _, k := range []string{"c", "a", "d", "b\x00", "b"} {
			b.Set([]byte(k), []byte("1"))
		}
	})
	require.Equal(t, []string{"b=1", "b\x00=1", "c=1"}, content(t, s, []byte("b"), []byte("d")))
	require.Equal(t, []string{"a=1", "b=1", "b\x00=1", "c=1", "d=1"}, content(t, s, nil, nil))
	n := 0
	require.NoError(t, s.Scan(nil, nil, func([]byte, []byte) error { n++; return statestore.ErrStop }))
	require.Equal(t, 1, n)
	failed := fmt.Errorf("failed")
	require.ErrorIs(t, s.Scan(nil, nil, func([]byte, []byte) error { return failed }), failed)
	require.NoError(t, s.Close())
}

func laterWins(t *testing.T, d Device) {
	s := open(t, d)
	var b statestore.Batch
	b.Set([]byte("b"), []byte("1"))
	b.Set([]byte("a"), []byte("1"))
	b.Delete([]byte("b"))
	b.Set([]byte("a"), []byte("2"))
	b.Set([]byte("c"), []byte("1"))
	b.Sort()
	require.NoError(t, s.Apply(&b))
	require.Equal(t, []string{"a=2", "c=1"}, content(t, s, nil, nil))
	apply(t, s, func(b *statestore.Batch) {
		b.DeleteRange([]byte("a"), []byte("c"))
		b.Set([]byte("a"), []byte("3"))
	})
	require.Equal(t, []string{"a=3", "c=1"}, content(t, s, nil, nil))
	require.NoError(t, s.Close())
}

// concurrent writes two keys in each batch; whoever reads must find them equal, and what Apply has returned for visible.
func concurrent(t *testing.T, d Device) {
	s := open(t, d)
	const writers, batches = 4, 50
	var all sync.WaitGroup
	for w := range writers {
		first, second := fmt.Appendf(nil, "%d a", w), fmt.Appendf(nil, "%d b", w)
		all.Go(func() {
			var b statestore.Batch
			for i := range batches {
				n := fmt.Append(nil, i)
				b.Reset()
				b.Set(first, n)
				b.Set(second, n)
				assert.NoError(t, s.Apply(&b))
				got, _, err := s.Get(nil, second)
				assert.NoError(t, err)
				assert.Equal(t, string(n), string(got))
			}
		})
		all.Go(func() {
			for range batches {
				var values []string
				assert.NoError(t, s.Scan(first, append(second, 0), func(_, v []byte) error {
					values = append(values, string(v))
					return nil
				}))
				assert.True(t, len(values) == 0 || len(values) == 2 && values[0] == values[1], "half a batch: %q", values)
			}
		})
	}
	all.Go(func() {
		for range 10 {
			assert.NoError(t, s.Flush())
		}
	})
	all.Wait()
	require.Len(t, content(t, s, nil, nil), 2*writers)
	require.NoError(t, s.Close())
}

func closed(t *testing.T, d Device) {
	s := open(t, d)
	require.NoError(t, s.Close())
	_, _, err := s.Get(nil, []byte("a"))
	require.ErrorIs(t, err, statestore.ErrClosed)
	require.ErrorIs(t, s.Apply(&statestore.Batch{}), statestore.ErrClosed)
	require.ErrorIs(t, s.Flush(), statestore.ErrClosed)
	require.ErrorIs(t, s.Scan(nil, nil, nil), statestore.ErrClosed)
	require.ErrorIs(t, s.GetAll(&statestore.Keys{}, nil), statestore.ErrClosed)
	require.ErrorIs(t, s.Close(), statestore.ErrClosed)
}

func reopened(t *testing.T, d Device) {
	s := open(t, d)
	apply(t, s, func(b *statestore.Batch) { b.Set([]byte("a"), []byte("1")) })
	require.NoError(t, s.Close())
	s = open(t, d)
	require.Equal(t, []string{"a=1"}, content(t, s, nil, nil))
	require.NoError(t, s.Close())
}

// crashed numbers the batches: what is there after a crash must be the first n of them, n at least the flushed ones.
func crashed(t *testing.T, make func(t *testing.T) Device) {
	rapid.Check(t, func(rt *rapid.T) {
		d := make(t)
		s := open(rt, d)
		batches, flushed := rapid.IntRange(0, 40).Draw(rt, "batches"), 0
		for i := 1; i <= batches; i++ {
			apply(rt, s, func(b *statestore.Batch) {
				b.Set([]byte("n"), fmt.Append(nil, i))
				b.Set(fmt.Appendf(nil, "key%d", i), bytes.Repeat([]byte("x"), 100))
			})
			if rapid.IntRange(0, 9).Draw(rt, "flush") == 0 {
				require.NoError(rt, s.Flush())
				flushed = i
			}
		}
		d.Crash()
		s = open(rt, d)
		n := 0
		if v, ok, err := s.Get(nil, []byte("n")); ok {
			require.NoError(rt, err)
			_, err := fmt.Sscan(string(v), &n)
			require.NoError(rt, err)
		}
		require.GreaterOrEqual(rt, n, flushed)
		for i := 1; i <= batches; i++ {
			_, ok, err := s.Get(nil, fmt.Appendf(nil, "key%d", i))
			require.NoError(rt, err)
			require.Equal(rt, i <= n, ok, "batch %d of %d kept", i, n)
		}
		require.NoError(rt, s.Close())
	})
}

func equalsAMap(t *testing.T, make func(t *testing.T) Device) {
	rapid.Check(t, func(rt *rapid.T) {
		d := make(t)
		s := open(rt, d)
		model := map[string]string{}
		key := rapid.StringMatching(`[a-c]{1,3}`)
		for range rapid.IntRange(1, 20).Draw(rt, "batches") {
			var b statestore.Batch
			for range rapid.IntRange(0, 10).Draw(rt, "ops") {
				k := key.Draw(rt, "key")
				switch rapid.IntRange(0, 6).Draw(rt, "op") {
				case 0, 1:
					b.Delete([]byte(k))
					delete(model, k)
				case 2:
					upper := key.Draw(rt, "upper")
					if upper <= k {
						continue
					}
					b.DeleteRange([]byte(k), []byte(upper))
					maps.DeleteFunc(model, func(m, _ string) bool { return m >= k && m < upper })
				default:
					v := rapid.String().Draw(rt, "value")
					b.Set([]byte(k), []byte(v))
					model[k] = v
				}
			}
			b.Sort()
			require.NoError(rt, s.Apply(&b))
			switch rapid.IntRange(0, 8).Draw(rt, "then") {
			case 0:
				require.NoError(rt, s.Flush())
			case 1:
				require.NoError(rt, s.Close())
				s = open(rt, d)
			case 2:
				require.NoError(rt, s.Flush())
				d.Crash()
				s = open(rt, d)
			}
		}
		var want []string
		for _, k := range slices.Sorted(maps.Keys(model)) {
			want = append(want, k+"="+model[k])
		}
		require.Equal(rt, want, content(rt, s, nil, nil))
		var asked statestore.Keys
		for _, k := range rapid.SliceOf(key).Draw(rt, "asked") {
			asked.Add([]byte(k))
		}
		last := ""
		require.NoError(rt, s.GetAll(&asked, func(k, v []byte, ok bool) error {
			require.Greater(rt, string(k), last)
			last = string(k)
			value, there := model[last]
			require.Equal(rt, there, ok)
			require.Equal(rt, value, string(v))
			return nil
		}))
		require.NoError(rt, s.Close())
	})
}
