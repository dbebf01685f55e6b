//go:build !(linux || darwin) || race

package offheap

// region is on Go's heap: where there is no system call for other memory, and where the race detector is to see the accesses.
func region() []*Chunk { return []*Chunk{new(Chunk)} }
