// Package engine runs an application on Kafka: [Run] takes an App and a [Config] and returns when it was told to stop, or
// when going on would be wrong.
//
// A process is one static member of the consumer group, a few workers (a client and a transactional producer each), and
// one local store. Each partition of the input is a task on one worker. See package processor for the way of a record.
package engine
