package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/pebblestore"
)

// cpu is the process's CPU time in nanoseconds, which other processes disturb less than the wall clock.
func cpu() int64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// measure runs body b.N times and reports its CPU time.
func measure(b *testing.B, body func(i int)) {
	b.ReportAllocs()
	began := cpu()
	i := 0
	for b.Loop() {
		body(i)
		i++
	}
	b.ReportMetric(float64(cpu()-began)/float64(b.N), "cpu-ns/op")
}

const population = 1 << 16

// transactions are values that differ, so that no branch is learnt by heart.
func transactions() (values [][]byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range population {
		values = append(values, fmt.Appendf(nil, `{"sessionId":"session-%07d","winAmount":%d.%02d,"deposit":%t}`,
			rng.IntN(100_000), rng.IntN(100), rng.IntN(100), rng.IntN(50) == 0))
	}
	return values
}

func decodeAll[T any](tb testing.TB, c codec.Codec[T], raw [][]byte) (values []T) {
	for _, r := range raw {
		v, err := c.Decode(r)
		require.NoError(tb, err)
		values = append(values, v)
	}
	return values
}

func BenchmarkDecodeTransaction(b *testing.B) {
	raw := transactions()
	c := session.TransactionJSON()
	measure(b, func(i int) { _, _ = c.Decode(raw[i%population]) })
}

func BenchmarkDecodeState(b *testing.B) {
	c := session.SessionTrackingValueJSON()
	var raw [][]byte
	for _, tx := range decodeAll(b, session.TransactionJSON(), transactions()) {
		v, err := c.Append(nil, session.SessionTrackingValue{TotalSum: tx.WinAmount})
		require.NoError(b, err)
		raw = append(raw, v)
	}
	measure(b, func(i int) { _, _ = c.Decode(raw[i%population]) })
}

func BenchmarkAdd(b *testing.B) {
	values := decodeAll(b, session.TransactionJSON(), transactions())
	var sum decimal.Decimal
	measure(b, func(i int) { sum, _ = sum.Add(values[i%population].WinAmount) })
}

func BenchmarkEncodeState(b *testing.B) {
	values := decodeAll(b, session.TransactionJSON(), transactions())
	c := session.SessionTrackingValueJSON()
	var buf []byte
	measure(b, func(i int) {
		buf, _ = c.Append(buf[:0], session.SessionTrackingValue{TotalSum: values[i%population].WinAmount})
	})
}

func BenchmarkEncodeUpdate(b *testing.B) {
	values := decodeAll(b, session.TransactionJSON(), transactions())
	c := session.SessionUpdateJSON()
	var buf []byte
	measure(b, func(i int) {
		v := &values[i%population]
		buf, _ = c.Append(buf[:0], session.SessionUpdate{SessionID: v.SessionID, CurrentBalance: v.WinAmount})
	})
}

// storeBatch is how many entries leave the cache at a time.
const storeBatch = 64 << 10

// BenchmarkFlush writes sorted batches of short values into Pebble; one operation is one entry.
func BenchmarkFlush(b *testing.B) {
	s := openStore(b)
	var batch statestore.Batch
	rng := rand.New(rand.NewPCG(1, 2))
	measure(b, func(i int) {
		batch.Set(storeKey(rng.IntN(storeKeys)), []byte(`{"totalSum":12345.67}`))
		if batch.Len() == storeBatch {
			apply(b, s, &batch)
		}
	})
	apply(b, s, &batch)
}

// BenchmarkRead reads values that are in no cache of ours from a store of a million keys, one by one.
func BenchmarkRead(b *testing.B) {
	s := fullStore(b)
	rng := rand.New(rand.NewPCG(1, 2))
	var buf []byte
	measure(b, func(int) { buf, _, _ = s.Get(buf[:0], storeKey(rng.IntN(storeKeys))) })
}

// BenchmarkReadAll reads as BenchmarkRead does, but some thousands of keys at a time; one operation is one key.
func BenchmarkReadAll(b *testing.B) {
	for _, n := range []int{1 << 10, 1 << 12, 1 << 14} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := fullStore(b)
			rng := rand.New(rand.NewPCG(1, 2))
			var keys statestore.Keys
			var buf []byte
			read := func() {
				_ = s.GetAll(&keys, func(_, value []byte, _ bool) error { buf = append(buf[:0], value...); return nil })
				keys.Reset()
			}
			measure(b, func(int) {
				if keys.Add(storeKey(rng.IntN(storeKeys))); keys.Len() == n {
					read()
				}
			})
			read()
		})
	}
}

const storeKeys = 1_000_000

func storeKey(i int) []byte { return fmt.Appendf(nil, "\x00\x00\x00\x01total\x00session-%07d", i) }

// fullStore is a store of storeKeys keys.
func fullStore(b *testing.B) *pebblestore.Store {
	s := openStore(b)
	var batch statestore.Batch
	for i := range storeKeys {
		batch.Set(storeKey(i), []byte(`{"totalSum":12345.67}`))
		if batch.Len() == storeBatch {
			apply(b, s, &batch)
		}
	}
	apply(b, s, &batch)
	require.NoError(b, s.Flush())
	return s
}

func openStore(b *testing.B) *pebblestore.Store {
	s, err := pebblestore.Open(b.TempDir(), pebblestore.Options{MemoryBytes: 32 << 20})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, s.Close()) })
	return s
}

func apply(b *testing.B, s *pebblestore.Store, batch *statestore.Batch) {
	batch.Sort()
	require.NoError(b, s.Apply(batch))
	batch.Reset()
}

// What the window's own code allocates for a record: the session's id, and nothing else.
func TestTheCodecsAllocateOnlyTheID(t *testing.T) {
	raw := transactions()[0]
	tx, state, update := session.TransactionJSON(), session.SessionTrackingValueJSON(), session.SessionUpdateJSON()
	buf, out := make([]byte, 0, 256), make([]byte, 0, 256)
	allocs := testing.AllocsPerRun(1000, func() {
		v, err := tx.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		buf, _ = state.Append(buf[:0], session.SessionTrackingValue{TotalSum: v.WinAmount})
		sum, err := state.Decode(buf)
		if err != nil {
			t.Fatal(err)
		}
		out, _ = update.Append(out[:0], session.SessionUpdate{SessionID: v.SessionID, CurrentBalance: sum.TotalSum})
	})
	require.LessOrEqual(t, allocs, 1.0)
}
