package statestore_test

import (
	"fmt"

	"github.com/penstock/penstock/statestore"
)

// A batch is applied whole or not at all; a crash leaves what was applied before the last Flush.
func ExampleMemory() {
	store := statestore.NewMemory()
	var b statestore.Batch
	b.Set([]byte("ada"), []byte("1"))
	b.Set([]byte("bob"), []byte("2"))
	_ = store.Apply(&b)
	_ = store.Flush()

	b.Reset()
	b.Delete([]byte("ada"))
	_ = store.Apply(&b)
	_, ok, _ := store.Get(nil, []byte("ada"))
	fmt.Println(ok)

	store.Crash()
	value, ok, _ := store.Get(nil, []byte("ada"))
	fmt.Println(string(value), ok)
	// Output:
	// false
	// 1 true
}

func ExampleStore() {
	var store statestore.Store = statestore.NewMemory() // or pebblestore.Open
	var b statestore.Batch
	for _, k := range []string{"a1", "a2", "b1"} {
		b.Set([]byte(k), []byte("value of "+k))
	}
	_ = store.Apply(&b)

	_ = store.Scan([]byte("a"), []byte("b"), func(key, value []byte) error {
		fmt.Printf("%s: %s\n", key, value) // both are valid during the call only
		return nil
	})
	// Output:
	// a1: value of a1
	// a2: value of a2
}

func ExampleBatch() {
	var b statestore.Batch
	b.Set([]byte("a"), []byte("1"))
	b.DeleteRange([]byte("a"), []byte("b"))
	b.Set([]byte("a"), []byte("2")) // later ones win
	store := statestore.NewMemory()
	_ = store.Apply(&b)

	value, _, _ := store.Get(nil, []byte("a"))
	fmt.Println(b.Len(), string(value))
	// Output: 3 2
}
