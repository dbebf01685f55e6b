// Package offheap is memory that Go's collector neither scans nor counts. What lives long and holds no pointers costs twice its size on Go's heap,
// since as much garbage is let lie beside it before it is collected.
package offheap

import (
	"runtime"
	"sync"
)

// ChunkBytes is the size of a chunk.
const ChunkBytes = 256 << 10

// Chunk is one piece of memory, aligned to pages. It must hold no pointers into Go's heap.
type Chunk [ChunkBytes]byte

// regionBytes is what the system is asked for at a time: what it may back by one huge page.
const regionBytes = 2 << 20

var pool struct {
	sync.Mutex
	free  []*Chunk // their memory is the system's until they are written to
	held  int
	taken int // from the system since the last collection that was begun for it
}

// collectEvery is how much may be taken from the system before a collection is begun: owners that are garbage give their chunks back by it, and
// these do not make it due.
const collectEvery = 16 << 20

// Held is how many chunks are in use.
func Held() int {
	pool.Lock()
	defer pool.Unlock()
	return pool.held
}

// Get returns a chunk of zeros.
func Get() *Chunk {
	pool.Lock()
	defer pool.Unlock()
	if len(pool.free) == 0 {
		pool.free = region()
		if pool.taken += len(pool.free) * ChunkBytes; pool.taken >= collectEvery {
			pool.taken = 0
			go runtime.GC()
		}
	}
	last := len(pool.free) - 1
	c := pool.free[last]
	pool.free = pool.free[:last]
	pool.held++
	return c
}

// Put gives chunks back, and their memory to the system. Whoever still reads one meets zeros, or what it holds next.
func Put(chunks ...*Chunk) {
	for _, c := range chunks {
		release(c)
	}
	pool.Lock()
	defer pool.Unlock()
	pool.free = append(pool.free, chunks...)
	pool.held -= len(chunks)
}
