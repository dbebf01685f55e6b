//go:build (linux || darwin) && !race

package offheap

import (
	"fmt"
	"syscall"
	"unsafe"
)

// region maps some chunks, the first to be used last. It panics where the system has no memory, as Go does.
func region() (chunks []*Chunk) {
	mem, err := syscall.Mmap(-1, 0, regionBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Errorf("map %d bytes: %w", regionBytes, err))
	}
	for at := regionBytes - ChunkBytes; at >= 0; at -= ChunkBytes {
		chunks = append(chunks, (*Chunk)(unsafe.Pointer(&mem[at])))
	}
	return chunks
}
