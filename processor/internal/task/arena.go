package task

import "slices"

// arenaChunk is the size of an arena's chunk in bytes; larger values get a chunk of their own.
const arenaChunk = 256 << 10

// Arena holds bytes of one transaction. Slices stay valid until Reset.
type Arena struct {
	chunks [][]byte // all of arenaChunk bytes
	used   int      // chunks in use
	free   []byte   // rest of the last chunk in use
	beside int      // bytes of the values that have a chunk of their own, and of what was counted
}

// Copy returns a copy of b that lives until Reset.
func (a *Arena) Copy(b []byte) []byte {
	if len(b) > len(a.free) {
		if len(b) > arenaChunk/4 {
			a.beside += len(b)
			return append([]byte(nil), b...)
		}
		a.grow()
	}
	p := a.free[:len(b):len(b)]
	a.free = a.free[len(b):]
	copy(p, b)
	return p
}

func (a *Arena) grow() {
	if a.used == len(a.chunks) {
		a.chunks = append(a.chunks, make([]byte, arenaChunk))
	}
	a.free = a.chunks[a.used]
	a.used++
}

// Bytes is the memory in use.
func (a *Arena) Bytes() int { return a.used*arenaChunk + a.beside }

// Count adds memory of the transaction that lies elsewhere.
func (a *Arena) Count(bytes int) { a.beside += bytes }

// chunksKept bounds the memory that waits for the next transaction.
const chunksKept = 16

// Reset makes the memory usable again. Nobody may hold a slice of it.
func (a *Arena) Reset() {
	a.used, a.free, a.beside = 0, nil, 0
	if len(a.chunks) > chunksKept {
		a.chunks = slices.Clone(a.chunks[:chunksKept])
	}
}
