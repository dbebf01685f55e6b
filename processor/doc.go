// Package processor is the vocabulary of a Penstock program: an [App] with typed edges (inputs, states, outputs, timers)
// and handlers that are called with one record at a time, in offset order per key. Package processor/engine runs an App on
// Kafka, exactly once; package processor/processortest runs it in a test, without a broker. Begin with the examples below;
// MIGRATION.md beside this file has the words of Spark, Kafka Streams and goka, and what they are called here.
//
// # The way of a record
//
//	poll      internal/worker/poll.go     the worker's client reads its tasks' partitions at offsets the engine chose
//	ahead     internal/task/ahead.go      what the next records ask the store for is read together, in the order of its keys
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
// # Exactly once
//
//  1. What a handler changes stays in memory, in the transaction's overlay, until the transaction has committed.
//  2. One Kafka transaction holds the outputs, the changed state (changelog), the dead letters and the offsets of the input.
//  3. So after a crash either all of it is there, or none, and then the same records are handled again.
//  4. Who reads the outputs with isolation.level=read_committed never sees what was dropped.
//  5. Local state is a copy of the changelog: lost or damaged, it is read again from there.
//  6. A process that was frozen and lost its partition cannot commit: its ownership is checked, and the broker fences it.
//  7. Only a confirmed commit counts as one. An unknown end makes the process ask the changelog what is true.
//  8. A handler may run several times for one record, and its effects count once: it must be a function of the record, the
//     state and [Context.Now], and must not write elsewhere (a database, a file, a topic) by itself.
//  9. An error, [Reject] or a panic undoes what the record did and sends it to APP-dead-letters, in the same transaction.
//  10. RULES.md says which code holds each rule, and which test.
//
// # Timers
//
// A [Timer] is a state whose value is a deadline, with an index beside it (internal/task/timers.go): it is set, restored,
// undone and committed like any state, and when it fires, its handler is one more step of the open transaction. [WallClock]
// fires also while the stream is silent; [EventTime] by the timestamps of the partition's records, so that the same input
// gives the same output whenever it is processed.
//
// # Tables
//
// A [Table] is a copy of a whole topic, for look-ups by any key: complete before the first record is handled, then followed
// (internal/restore/table.go). A look-up is no part of the transaction: a record's effects count once, but a record that is
// handled again after a crash may see newer rows than at first.
//
// # Testing and operating
//
// A test sends records, lets time pass, commits, aborts and crashes at will, and reads what came of it: see processortest.
// A program shows how it fares by engine.Monitor (probes, metrics). deploy/OPERATING.md says what to look at, and what to do
// when a state is added, a codec changes or a topic is renamed.
//
// What others may know of the state, internal/query answers: committed values alone, from the process that owns the key.
//
// Nothing in this package starts a goroutine, reads a clock, or knows Kafka or a disk.
package processor
