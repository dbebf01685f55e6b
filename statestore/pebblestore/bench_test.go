package pebblestore_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/stretchr/testify/require"
)

const (
	benchKeys  = 1_000_000
	benchBatch = 50_000
)

// benchKey is a state's key: 10 bytes of partition and state, 20 of a session id.
func benchKey(dst []byte, i int) []byte {
	dst = append(dst[:0], "\x00\x00\x00\x07total\x00"...)
	dst = append(dst, "session-"...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(i)*0x9e3779b97f4a7c15)
	return binary.BigEndian.AppendUint32(dst, uint32(i))
}

// restore writes n keys in the order of a changelog, which is not theirs, in sorted batches.
func restore(b *testing.B, s *pebblestore.Store, n int) {
	var batch statestore.Batch
	var key []byte
	value := make([]byte, 20)
	for i := range n {
		key = benchKey(key, i)
		binary.BigEndian.PutUint64(value, uint64(i))
		batch.Set(key, value)
		if batch.Len() == benchBatch || i == n-1 {
			batch.Sort()
			require.NoError(b, s.Apply(&batch))
			batch.Reset()
		}
	}
	require.NoError(b, s.Flush())
}

func open(b *testing.B) *pebblestore.Store {
	s, err := pebblestore.Open(b.TempDir(), pebblestore.Options{Logger: quiet})
	require.NoError(b, err)
	return s
}

// cpu is what the process has used of all cores: what a figure would be on a machine that does nothing else.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRestore counts sorting, Apply and the Flush at the end.
func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{benchKeys, 4 * benchKeys} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				s := open(b)
				start := cpu(b)
				restore(b, s, n)
				b.StopTimer()
				used += cpu(b) - start
				m := s.Metrics()
				b.ReportMetric(float64(m.DiskBytes)/float64(n), "disk-bytes/key")
				b.ReportMetric(float64(m.WrittenBytes)/float64(n), "written-bytes/key")
				require.NoError(b, s.Close())
				b.StartTimer()
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "keys/s")
			b.ReportMetric(float64(used.Nanoseconds())/float64(b.N*n), "cpu-ns/key")
		})
	}
}

// BenchmarkApply writes sorted batches of known keys, a Flush every 500,000 of them.
func BenchmarkApply(b *testing.B) {
	s := open(b)
	restore(b, s, benchKeys)
	var batch statestore.Batch
	var key []byte
	value := make([]byte, 20)
	applied := 0
	for b.Loop() {
		batch.Reset()
		for range benchBatch {
			key = benchKey(key, rand.IntN(benchKeys))
			batch.Set(key, value)
		}
		batch.Sort()
		require.NoError(b, s.Apply(&batch))
		if applied += benchBatch; applied%500_000 == 0 {
			require.NoError(b, s.Flush())
		}
	}
	require.NoError(b, s.Flush())
	b.ReportMetric(float64(applied)/b.Elapsed().Seconds(), "keys/s")
	require.NoError(b, s.Close())
}

func BenchmarkGet(b *testing.B) {
	s := open(b)
	restore(b, s, benchKeys)
	for name, from := range map[string]int{"hit": 0, "miss": benchKeys} {
		b.Run(name, func(b *testing.B) {
			var key, value []byte
			b.ReportAllocs()
			for b.Loop() {
				key = benchKey(key, from+rand.IntN(benchKeys))
				var ok bool
				var err error
				if value, ok, err = s.Get(value[:0], key); err != nil || ok != (from == 0) {
					b.Fatal(ok, err)
				}
			}
		})
	}
	require.NoError(b, s.Close())
}
