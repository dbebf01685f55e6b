// Package task is one partition of an application, pure: a record or a tick goes in, effects come out. It starts no goroutine,
// reads no clock, does no I/O but the reads of its store, and needs no lock: one owner calls it.
//
// State is read top down (see [table]): the overlay holds this transaction's changes, the committed cache the values
// below it, the store what was frozen and applied. A [Task.Step], and a [Task.Tick] with its timers, changes the overlay alone (R1); [Task.Prepare] turns
// the overlay into changelog records; [Task.Keep] moves it into the cache once the broker said that the transaction is
// committed; [Task.Abort] drops it; [Task.Freeze] hands dirty entries, and the position they stand for, to the store.
//
// Overlay and cache are entries, of two lines of the processor's cache each, in a slab outside of Go's heap; an index finds them by key. No
// slice of an entry leaves the task but to be copied at once: the entry is another key's when it was evicted.
package task
