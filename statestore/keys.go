package statestore

import (
	"bytes"
	"iter"
)

// Keys are keys to read together, see Store.GetAll. Their bytes lie in one buffer, so that a list that is reset and filled again
// allocates nothing. The zero Keys is empty.
type Keys struct{ batch Batch }

// Add adds a key, which is copied.
func (k *Keys) Add(key []byte) { k.batch.Set(key, nil) }

// Len is how often Add was called since the last Reset.
func (k *Keys) Len() int { return k.batch.Len() }

// Reset empties the list and keeps its memory.
func (k *Keys) Reset() { k.batch.Reset() }

// Sorted iterates over the keys in ascending order, each once. The slices are valid until the list is changed.
func (k *Keys) Sorted() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		k.batch.Sort()
		var last []byte
		first := true
		for o := range k.batch.All() {
			if !first && bytes.Equal(o.Key, last) {
				continue
			}
			first, last = false, o.Key
			if !yield(last) {
				return
			}
		}
	}
}
