package offheap_test

import (
	"testing"
	"unsafe"

	"github.com/penstock/penstock/processor/internal/offheap"
	"github.com/stretchr/testify/require"
)

var zeros offheap.Chunk

func TestAChunkIsZerosWheneverItIsGot(t *testing.T) {
	var held []*offheap.Chunk
	seen := map[*offheap.Chunk]bool{}
	for range 40 {
		c := offheap.Get()
		require.Zero(t, uintptr(unsafe.Pointer(c))%64)
		require.False(t, seen[c], "two owners")
		require.True(t, *c == zeros)
		seen[c] = true
		for i := range c {
			c[i] = byte(i) | 1
		}
		held = append(held, c)
	}
	offheap.Put(held...)
	for range held {
		c := offheap.Get()
		require.True(t, seen[c], "what was given back is used again")
		require.True(t, *c == zeros)
		defer offheap.Put(c)
	}
}
