package feed

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/codec"
)

// metrics count what a Feed reads, and what became of it.
type metrics struct {
	lines, bytes, acknowledged prometheus.Counter
	bad                        *prometheus.CounterVec // by reason
	clients                    prometheus.Gauge
	refused, idle              prometheus.Counter
}

func newMetrics() metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_produce_" + name, Help: help})
	}
	return metrics{
		lines:        counter("lines_total", "Lines read, empty ones and header lines left out."),
		bytes:        counter("read_bytes_total", "Bytes of these lines."),
		acknowledged: counter("acknowledged_total", "Records that the brokers have acknowledged."),
		bad:          prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_produce_bad_lines_total", Help: "Lines that were not sent, by what is wrong with them."}, []string{"reason"}),
		clients:      prometheus.NewGauge(prometheus.GaugeOpts{Name: "penstock_produce_clients", Help: "Clients of the line server."}),
		refused:      counter("clients_refused_total", "Clients that were turned away because too many others were connected."),
		idle:         counter("clients_idle_total", "Clients whose connection was ended because they sent nothing for too long."),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.lines, m.bytes, m.acknowledged, m.bad, m.clients, m.refused, m.idle}
}

// Describe implements prometheus.Collector.
func (f *Feed) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range f.metrics.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (f *Feed) Collect(ch chan<- prometheus.Metric) {
	for _, c := range f.metrics.all() {
		c.Collect(ch)
	}
}

// reason names what is wrong with a line, in a word.
func reason(err error) string {
	if errors.Is(err, errTooLong) {
		return "too-long"
	}
	if errors.Is(err, errTooLarge) {
		return "too-large"
	}
	return codec.Reason(err)
}
