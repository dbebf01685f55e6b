// Package bench guards speed where machines are noisy: allocations per record, and the ratio to the floor of the same run
// with a wide margin; no absolute time. Its Go benchmarks are the layers of one record; PERFORMANCE.md beside package
// processor holds what they gave. RESULTS.md is what "penstock bench" measured on Apache Kafka.
package bench
