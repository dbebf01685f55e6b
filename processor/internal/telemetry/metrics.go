package telemetry

import (
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// metrics are what Prometheus reads: a few that are counted as they happen, and the status at each scrape.
type metrics struct {
	registry *prometheus.Registry
	commit   prometheus.Histogram
	rejected *prometheus.CounterVec
	restored prometheus.Counter

	rebalances, losses prometheus.Counter
	traffic            *broker.Traffic
}

// commitBounds are the histogram's of commits, in seconds.
var commitBounds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}

func newMetrics(m *Monitor, process bool) *metrics {
	x := &metrics{
		registry: prometheus.NewRegistry(),
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "penstock_commit_duration_seconds",
			Help:    "Time of successful commits, from the last record to the broker's word.",
			Buckets: commitBounds}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_rejected_records_total",
			Help: "Rejected records by reason; one is counted again when its transaction is repeated."}, []string{"reason"}),
		restored: prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_restored_records_total",
			Help: "Changelog offsets read by restores."}),
	}
	x.rebalances = prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_rebalances_total", Help: "Assignments by the group, those that change nothing included."})
	x.losses = prometheus.NewCounter(prometheus.CounterOpts{Name: "penstock_membership_losses_total", Help: "Times that the group took the partitions away without asking."})
	x.traffic = broker.NewTraffic()
	x.registry.MustRegister(x.commit, x.rejected, x.restored, x.rebalances, x.losses, x.traffic, status{m})
	if process {
		x.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	return x
}

// status collects what [Monitor.Status] tells.
type status struct{ m *Monitor }

// desc declares a metric. Its name ends in its unit.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penstock_"+name, help, labels, nil)
}

var (
	infoDesc       = desc("info", "Always 1; its labels name the process.", "app", "instance")
	readyDesc      = desc("ready", "1 when joined and every own partition is processed.")
	joinedDesc     = desc("member_joined", "1 when the group has given an assignment.")
	reachableDesc  = desc("brokers_reachable", "1 when the brokers answered lately.")
	recordsDesc    = desc("records_total", "Input records whose effects are committed, as far as the broker confirmed it.")
	commitsDesc    = desc("commits_total", "Commits that the broker confirmed.")
	abortsDesc     = desc("aborts_total", "Transactions that were dropped.")
	checksDesc     = desc("continuity_checks_total", "Checks that a record is at the expected offset.")
	violationsDesc = desc("continuity_violations_total", "Records that were not at the expected offset. Must stay 0.")
	misplacedDesc  = desc("misplaced_records_total", "Input records on a partition that the default partitioner would not choose for their key.")
	outputsDesc    = desc("output_records_total", "Records of committed transactions, by output.", "topic")
	changelogDesc  = desc("changelog_records_total", "Changelog records of committed transactions.")
	removesDesc    = desc("state_removes_total", "How often handlers removed a key's value, in committed transactions. Of the session window's state total: sessions closed.", "state")
	lettersDesc    = desc("dead_letters_total", "Dead letters of committed transactions: each is in the topic once.")
	timersDesc     = desc("timers_fired_total", "Timers that fired; one is counted again when its transaction is repeated.")
	lookupsDesc    = desc("state_lookups_total", "Lookups of a key in a state, one for each record and state.")
	readsDesc      = desc("store_reads_total", "Lookups that the cache did not answer.")
	flushesDesc    = desc("store_flushes_total", "Batches of changed entries written to the local store.")
	flushedDesc    = desc("store_flushed_entries_total", "Entries in these batches.")
	durableDesc    = desc("store_durable_flushes_total", "Times that the local store was made durable: what a crash would lose is replayed from the changelog.")
	diskDesc       = desc("store_bytes", "Size of the local store's files.")
	memtableDesc   = desc("store_memtable_bytes", "Memory of the local store's write buffers.")
	blocksDesc     = desc("store_block_cache_bytes", "Memory of the local store's block cache.")
	partitionsDesc = desc("partitions", "Own partitions by state.", "state")
	cacheDesc      = desc("cache_bytes", "Memory of a partition's state cache.", "partition")
	entriesDesc    = desc("cache_entries", "Keys in a partition's state cache.", "partition")
	dirtyDesc      = desc("cache_dirty_entries", "Of them, committed ones that are not yet on their way to the local store.", "partition")
	waitingDesc    = desc("timers_waiting", "Timers that are set.", "partition")
	remainingDesc  = desc("restore_remaining_records", "Changelog offsets that a restoring partition has to read.", "partition", "state")
	heldRestDesc   = desc("restore_held", "1 when an open transaction keeps a restore from its end.", "partition", "state")
	lagDesc        = desc("partition_lag_records", "Offsets between the committed position and the last stable offset; 0 when idle.", "topic", "partition")
	behindDesc     = desc("partition_behind_seconds", "Time since the position was last at the last stable offset; 0 when it is.", "topic", "partition")
	heldDesc       = desc("partition_held_seconds", "Time for which an open transaction has held the last stable offset; 0 when none does.", "topic", "partition")
	heldRecsDesc   = desc("partition_held_records", "Offsets behind a last stable offset that is held.", "topic", "partition")
)

// Describe implements prometheus.Collector.
func (status) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{infoDesc, readyDesc, joinedDesc, reachableDesc, recordsDesc, commitsDesc, abortsDesc,
		checksDesc, violationsDesc, misplacedDesc, outputsDesc, changelogDesc, removesDesc, lettersDesc, timersDesc, lookupsDesc, readsDesc,
		flushesDesc, flushedDesc, durableDesc, entriesDesc, dirtyDesc, waitingDesc, diskDesc, memtableDesc, blocksDesc, partitionsDesc, cacheDesc,
		remainingDesc, heldRestDesc, lagDesc, behindDesc, heldDesc, heldRecsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c status) Collect(ch chan<- prometheus.Metric) {
	s := c.m.own()
	s.Ready = len(s.Reasons) == 0
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge(infoDesc, 1, s.App, s.Instance)
	gauge(readyDesc, one(s.Ready))
	gauge(joinedDesc, one(s.Joined))
	gauge(reachableDesc, one(s.Reachable))
	count(recordsDesc, s.Counts.Records)
	count(commitsDesc, s.Counts.Commits)
	count(abortsDesc, s.Counts.Aborts)
	count(checksDesc, s.Counts.Checks)
	count(violationsDesc, s.Counts.Violations)
	count(misplacedDesc, s.Counts.Misplaced)
	for topic, n := range s.Counts.Outputs {
		ch <- prometheus.MustNewConstMetric(outputsDesc, prometheus.CounterValue, float64(n), topic)
	}
	count(changelogDesc, s.Counts.Changelog)
	for state, n := range s.Counts.Removes {
		ch <- prometheus.MustNewConstMetric(removesDesc, prometheus.CounterValue, float64(n), state)
	}
	count(lettersDesc, s.Counts.DeadLetters)
	count(timersDesc, s.Counts.Timers)
	count(lookupsDesc, s.Counts.Lookups)
	count(readsDesc, s.Counts.StoreReads)
	count(flushesDesc, s.Counts.Flushes)
	count(flushedDesc, s.Counts.FlushedEntries)
	count(durableDesc, s.Counts.Durable)
	gauge(diskDesc, float64(s.Store.DiskBytes))
	gauge(memtableDesc, float64(s.Store.MemtableBytes))
	gauge(blocksDesc, float64(s.Store.BlockBytes))
	states := map[string]float64{restoring: 0, running: 0}
	for _, p := range s.Partitions {
		states[p.State]++
		c.partition(p, gauge)
	}
	for name, n := range states {
		gauge(partitionsDesc, n, name)
	}
}

func (status) partition(p Partition, gauge func(*prometheus.Desc, float64, ...string)) {
	id := strconv.Itoa(int(p.Partition))
	gauge(cacheDesc, float64(p.Cache.Bytes), id)
	gauge(entriesDesc, float64(p.Cache.Entries), id)
	gauge(dirtyDesc, float64(p.Cache.Dirty), id)
	gauge(waitingDesc, float64(p.Cache.Timers), id)
	for _, state := range p.restored {
		gauge(remainingDesc, 0, id, state)
		gauge(heldRestDesc, 0, id, state)
	}
	for _, r := range p.Restore {
		gauge(remainingDesc, float64(r.Remaining()), id, r.State)
		gauge(heldRestDesc, one(r.Held()), id, r.State)
	}
	for _, in := range p.Inputs {
		gauge(lagDesc, float64(in.Lag), in.Topic, id)
		gauge(behindDesc, in.BehindSeconds, in.Topic, id)
		gauge(heldDesc, in.HeldSeconds, in.Topic, id)
		gauge(heldRecsDesc, float64(in.HeldRecords), in.Topic, id)
	}
}

// Gather implements prometheus.Gatherer: the metrics of the application and, with the label stage, of those that give its
// inputs their key.
func (m *Monitor) Gather() ([]*dto.MetricFamily, error) {
	all := prometheus.Gatherers{m.metrics.registry}
	for id, stage := range m.eachStage() {
		all = append(all, prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
			families, err := stage.metrics.registry.Gather()
			for _, f := range families {
				for _, metric := range f.Metric {
					metric.Label = append(metric.Label, &dto.LabelPair{Name: proto.String("stage"), Value: proto.String(id)})
					slices.SortFunc(metric.Label, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
				}
			}
			return families, err
		}))
	}
	return all.Gather()
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
