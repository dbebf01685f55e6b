// Package integration runs the real program against a real Apache Kafka: what only processes that die and brokers that
// fail can show. Its tests need Docker, or brokers named by PENSTOCK_TEST_BROKERS; see package kafkatest.
package integration
