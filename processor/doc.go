// Package processor is the vocabulary of a Penstock program: an [App] with typed edges (inputs, states, outputs, timers)
// and handlers that are called with one record at a time, in offset order per key. Package processor/engine runs an App on
// Kafka, exactly once; package processor/processortest runs it in a test, without a broker.
//
// The way of a record, and where each step lives:
//
//	poll      internal/worker/poll.go     the worker's client reads its tasks' partitions at offsets the engine chose
//	step      internal/task/step.go       order is checked (R4), the handler runs, its effects stay in the overlay (R1)
//	tick      internal/worker/tick.go     timers that are due fire, after the records that came before them (R12)
//	handle    bound.go                    key and value are checked and decoded, the App's own code is called
//	reject    internal/task/reject.go     a record at fault is undone and becomes a dead letter
//	produce   internal/worker/produce.go  outputs and dead letters go to the broker, inside the open transaction
//	prepare   internal/task/commit.go     each changed key becomes one changelog record
//	commit    internal/worker/commit.go   flush, ownership check, offsets, end of the transaction (R2, R3)
//	keep      internal/task/commit.go     the overlay moves into the committed cache
//	freeze    internal/task/freeze.go     dirty entries and the position they stand for leave in one batch for the store
//	restore   internal/restore            a task that moves or lost its state reads what its store lacks (R5-R7)
//
// A [Timer] is a state whose value is a deadline, with an index beside it (internal/task/timers.go): it is set, restored,
// undone and committed like any state, and when it fires, its handler is one more step of the open transaction.
//
// Nothing in this package starts a goroutine, reads a clock, or knows Kafka or a disk.
package processor
