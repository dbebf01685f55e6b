package deposits

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what is stored. They are a prometheus.Collector.
type Metrics struct {
	stored, records prometheus.Counter
	write           prometheus.Histogram
	lag             *prometheus.GaugeVec // by partition
	waiting         prometheus.Gauge
	ready           atomic.Bool
}

// NewMetrics makes them, for one Run.
func NewMetrics() *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_deposits_" + name, Help: help})
	}
	return &Metrics{
		stored:  counter("stored_total", "Deposits that the store has confirmed."),
		records: counter("records_total", "Offsets of the output topic that the store has confirmed, closing updates or not."),
		write: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "penstock_deposits_write_duration_seconds", Help: "Time of writes that the store confirmed.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}),
		lag:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "penstock_deposits_lag_records", Help: "Offsets of a claimed partition that are not stored yet."}, []string{"partition"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{Name: "penstock_deposits_waiting", Help: "1 while the store or the brokers do not answer."}),
	}
}

// Ready reports whether the partitions are claimed, or there are none for this instance, and nothing is waited for.
func (m *Metrics) Ready() bool { return m.ready.Load() }

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.stored, m.records, m.write, m.lag, m.waiting}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

// wrote notes a write that the store confirmed.
func (m *Metrics) wrote(b *Batch, took time.Duration) {
	m.stored.Add(float64(len(b.Deposits)))
	for _, p := range b.Progress {
		m.records.Add(float64(p.Next - p.First))
	}
	m.write.Observe(took.Seconds())
}

// look notes where the claimed partitions are.
func (m *Metrics) look(c *claims) {
	m.lag.Reset()
	c.each(func(partition int32, p *position) {
		m.lag.WithLabelValues(strconv.Itoa(int(partition))).Set(float64(max(0, p.end-p.stored)))
	})
}

// goesOn and stands say whether all is well.
func (m *Metrics) goesOn() {
	m.ready.Store(true)
	m.waiting.Set(0)
}

func (m *Metrics) stands(waiting bool) {
	m.ready.Store(false)
	m.lag.Reset()
	if waiting {
		m.waiting.Set(1)
	}
}
