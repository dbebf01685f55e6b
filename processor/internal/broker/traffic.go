package broker

import (
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Traffic counts what a process's clients and the brokers say to each other, over all of its clients and their
// successors: a worker that replaces its client goes on with the same counts. It is a prometheus.Collector.
type Traffic struct {
	connects, connectErrors, disconnects, readBytes, writeBytes, requestErrors *prometheus.CounterVec // by broker
	requests, throttled                                                        *prometheus.HistogramVec

	producedRecords, producedBytes, fetchedRecords, fetchedBytes *prometheus.CounterVec // by topic

	topics sync.Map // name -> *topicTraffic
}

// topicTraffic are one topic's counters, found once.
type topicTraffic struct {
	producedRecords, producedBytes, fetchedRecords, fetchedBytes prometheus.Counter
}

// NewTraffic makes the counters.
func NewTraffic() *Traffic {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_client_" + name, Help: help}, []string{label})
	}
	histogram := func(name, help, label string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "penstock_client_" + name, Help: help, Buckets: buckets}, []string{label})
	}
	return &Traffic{
		connects:        counter("connects_total", "Connections to a broker that came about.", "broker"),
		connectErrors:   counter("connect_errors_total", "Connections to a broker that did not come about.", "broker"),
		disconnects:     counter("disconnects_total", "Connections to a broker that ended.", "broker"),
		readBytes:       counter("read_bytes_total", "Bytes read from a broker.", "broker"),
		writeBytes:      counter("write_bytes_total", "Bytes written to a broker.", "broker"),
		requestErrors:   counter("request_errors_total", "Requests whose writing or reading failed.", "broker"),
		requests:        histogram("request_duration_seconds", "Time from writing a request to reading its answer, by kind.", "request", .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30),
		throttled:       histogram("throttle_seconds", "Time for which a broker's quota made the client wait.", "broker", .01, .1, 1, 10, 60),
		producedRecords: counter("produced_records_total", "Records in batches that were acknowledged, transactions that were dropped included.", "topic"),
		producedBytes:   counter("produced_bytes_total", "Bytes of these batches, compressed.", "topic"),
		fetchedRecords:  counter("fetched_records_total", "Records read, restores included.", "topic"),
		fetchedBytes:    counter("fetched_bytes_total", "Bytes of the batches read, compressed.", "topic"),
	}
}

func (t *Traffic) collectors() []prometheus.Collector {
	return []prometheus.Collector{t.connects, t.connectErrors, t.disconnects, t.readBytes, t.writeBytes, t.requestErrors, t.requests, t.throttled,
		t.producedRecords, t.producedBytes, t.fetchedRecords, t.fetchedBytes}
}

// Describe implements prometheus.Collector.
func (t *Traffic) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range t.collectors() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (t *Traffic) Collect(ch chan<- prometheus.Metric) {
	for _, c := range t.collectors() {
		c.Collect(ch)
	}
}

// Of the client's hooks, those that count.
var (
	_ kgo.HookBrokerConnect    = (*Traffic)(nil)
	_ kgo.HookBrokerDisconnect = (*Traffic)(nil)
	_ kgo.HookBrokerE2E        = (*Traffic)(nil)
	_ kgo.HookBrokerThrottle   = (*Traffic)(nil)
	_ kgo.HookFetchBatchRead   = (*Traffic)(nil)
)

// OnBrokerConnect implements kgo.HookBrokerConnect. Each broker's counters begin at 0 with its first connection.
func (t *Traffic) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	id := brokerName(meta)
	failed, made := t.connectErrors.WithLabelValues(id), t.connects.WithLabelValues(id)
	t.disconnects.WithLabelValues(id)
	t.requestErrors.WithLabelValues(id)
	t.throttled.WithLabelValues(id)
	if err != nil {
		failed.Inc()
		return
	}
	made.Inc()
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (t *Traffic) OnBrokerDisconnect(meta kgo.BrokerMetadata, _ net.Conn) {
	t.disconnects.WithLabelValues(brokerName(meta)).Inc()
}

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (t *Traffic) OnBrokerE2E(meta kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	id := brokerName(meta)
	t.writeBytes.WithLabelValues(id).Add(float64(e.BytesWritten))
	t.readBytes.WithLabelValues(id).Add(float64(e.BytesRead))
	if e.Err() != nil {
		t.requestErrors.WithLabelValues(id).Inc()
		return
	}
	t.requests.WithLabelValues(kmsg.NameForKey(key)).Observe(e.DurationE2E().Seconds())
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (t *Traffic) OnBrokerThrottle(meta kgo.BrokerMetadata, wait time.Duration, _ bool) {
	t.throttled.WithLabelValues(brokerName(meta)).Observe(wait.Seconds())
}

// produced counts a batch that was acknowledged, by its bytes as they were sent.
func (t *Traffic) produced(topic string, records, bytes int) {
	c := t.of(topic)
	c.producedRecords.Add(float64(records))
	c.producedBytes.Add(float64(bytes))
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (t *Traffic) OnFetchBatchRead(_ kgo.BrokerMetadata, topic string, _ int32, m kgo.FetchBatchMetrics) {
	c := t.of(topic)
	c.fetchedRecords.Add(float64(m.NumRecords))
	c.fetchedBytes.Add(float64(m.CompressedBytes))
}

func (t *Traffic) of(topic string) *topicTraffic {
	if c, ok := t.topics.Load(topic); ok {
		return c.(*topicTraffic)
	}
	c, _ := t.topics.LoadOrStore(topic, &topicTraffic{t.producedRecords.WithLabelValues(topic), t.producedBytes.WithLabelValues(topic),
		t.fetchedRecords.WithLabelValues(topic), t.fetchedBytes.WithLabelValues(topic)})
	return c.(*topicTraffic)
}

// brokerName is "seed" for one that is not yet known by number: the addresses of a configuration are no one's identity.
func brokerName(meta kgo.BrokerMetadata) string {
	if meta.NodeID < 0 {
		return "seed"
	}
	return strconv.Itoa(int(meta.NodeID))
}
