package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Report is what a benchmark found. Medians are taken figure by figure.
type Report struct {
	Load
	Workers       int     `json:"workers"`
	Guarantee     string  `json:"guarantee"`
	Updates       string  `json:"updates"`
	MemoryFlagMiB float64 `json:"memory_flag_mib"`
	Broker        string  `json:"broker"`

	Floor            Throughput      `json:"floor_median"`
	Processor        Throughput      `json:"processor_median"`
	FloorLatency     *Latency        `json:"floor_latency_median,omitempty"`
	ProcessorLatency *Latency        `json:"processor_latency_median,omitempty"`
	Ratio            ThroughputRatio `json:"processor_to_floor_ratio"`

	RestartKeys          int     `json:"restart_keys,omitempty"`
	ResumeSeconds        float64 `json:"resume_seconds,omitempty"`
	RestoreSeconds       float64 `json:"restore_seconds,omitempty"`
	RestoreKeysPerSecond float64 `json:"restore_keys_per_second,omitempty"`

	FloorRuns          []Throughput `json:"floor_runs"`
	ProcessorRuns      []Throughput `json:"processor_runs"`
	FloorLatencies     []Latency    `json:"floor_latency_runs,omitempty"`
	ProcessorLatencies []Latency    `json:"processor_latency_runs,omitempty"`

	Audits int  `json:"audits"`
	Exact  bool `json:"exact"` // all of them
}

// Throughput is one run over the whole input.
type Throughput struct {
	RecordsPerSecond           float64 `json:"records_per_second"` // from the start of the process on
	RecordsPerSecondSecondHalf float64 `json:"records_per_second_second_half"`
	CPUSecondsPerMillion       float64 `json:"cpu_seconds_per_million_records"`
	PeakRSSMiB                 float64 `json:"peak_rss_mib"`
	KafkaBytesPerRecord        float64 `json:"kafka_bytes_per_record"` // as they lie on the broker
	OutputBytesPerRecord       float64 `json:"output_bytes_per_record"`
	ChangelogBytesPerRecord    float64 `json:"changelog_bytes_per_record"`
	DiskBytesPerRecord         float64 `json:"disk_bytes_per_record"`
	Commits                    int64   `json:"commits"`
}

// ThroughputRatio is the median, over the runs, of processor to floor of the same run.
type ThroughputRatio struct {
	RecordsPerSecond           float64 `json:"records_per_second"`
	RecordsPerSecondSecondHalf float64 `json:"records_per_second_second_half"`
	CPU                        float64 `json:"cpu"`
	PeakRSS                    float64 `json:"peak_rss"`
	KafkaBytes                 float64 `json:"kafka_bytes"`
}

// Latency is one run at the fixed rate, from before a record is produced until its result is consumed, committed.
type Latency struct {
	P50Ms               float64 `json:"p50_ms"`
	P99Ms               float64 `json:"p99_ms"`
	P999Ms              float64 `json:"p99_9_ms"`
	MaxMs               float64 `json:"max_ms"`
	FirstOutputSeconds  float64 `json:"start_to_first_output_seconds"`
	CommitsPerSecond    float64 `json:"commits_per_second"`
	CPUSecondsPerSecond float64 `json:"cpu_seconds_per_second"`
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func (r *Report) summarize() {
	r.Floor, r.Processor = medianThroughput(r.FloorRuns), medianThroughput(r.ProcessorRuns)
	ratio := func(pick func(*Throughput) float64) float64 {
		var list []float64
		for i := range r.ProcessorRuns {
			if floor := pick(&r.FloorRuns[i]); floor > 0 {
				list = append(list, pick(&r.ProcessorRuns[i])/floor)
			}
		}
		return median(list)
	}
	r.Ratio = ThroughputRatio{
		RecordsPerSecond:           ratio(func(t *Throughput) float64 { return t.RecordsPerSecond }),
		RecordsPerSecondSecondHalf: ratio(func(t *Throughput) float64 { return t.RecordsPerSecondSecondHalf }),
		CPU:                        ratio(func(t *Throughput) float64 { return t.CPUSecondsPerMillion }),
		PeakRSS:                    ratio(func(t *Throughput) float64 { return t.PeakRSSMiB }),
		KafkaBytes:                 ratio(func(t *Throughput) float64 { return t.KafkaBytesPerRecord }),
	}
	if len(r.ProcessorLatencies) > 0 {
		f, p := medianLatency(r.FloorLatencies), medianLatency(r.ProcessorLatencies)
		r.FloorLatency, r.ProcessorLatency = &f, &p
	}
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	if n := len(list); n%2 == 0 {
		return (list[n/2-1] + list[n/2]) / 2
	}
	return list[len(list)/2]
}

func over[T any](runs []T, pick func(*T) float64) float64 {
	var list []float64
	for i := range runs {
		list = append(list, pick(&runs[i]))
	}
	return median(list)
}

func medianThroughput(runs []Throughput) Throughput {
	m := func(pick func(*Throughput) float64) float64 { return over(runs, pick) }
	return Throughput{
		RecordsPerSecond:           m(func(t *Throughput) float64 { return t.RecordsPerSecond }),
		RecordsPerSecondSecondHalf: m(func(t *Throughput) float64 { return t.RecordsPerSecondSecondHalf }),
		CPUSecondsPerMillion:       m(func(t *Throughput) float64 { return t.CPUSecondsPerMillion }),
		PeakRSSMiB:                 m(func(t *Throughput) float64 { return t.PeakRSSMiB }),
		KafkaBytesPerRecord:        m(func(t *Throughput) float64 { return t.KafkaBytesPerRecord }),
		OutputBytesPerRecord:       m(func(t *Throughput) float64 { return t.OutputBytesPerRecord }),
		ChangelogBytesPerRecord:    m(func(t *Throughput) float64 { return t.ChangelogBytesPerRecord }),
		DiskBytesPerRecord:         m(func(t *Throughput) float64 { return t.DiskBytesPerRecord }),
		Commits:                    int64(m(func(t *Throughput) float64 { return float64(t.Commits) })),
	}
}

func medianLatency(runs []Latency) Latency {
	m := func(pick func(*Latency) float64) float64 { return over(runs, pick) }
	return Latency{
		P50Ms:               m(func(l *Latency) float64 { return l.P50Ms }),
		P99Ms:               m(func(l *Latency) float64 { return l.P99Ms }),
		P999Ms:              m(func(l *Latency) float64 { return l.P999Ms }),
		MaxMs:               m(func(l *Latency) float64 { return l.MaxMs }),
		FirstOutputSeconds:  m(func(l *Latency) float64 { return l.FirstOutputSeconds }),
		CommitsPerSecond:    m(func(l *Latency) float64 { return l.CommitsPerSecond }),
		CPUSecondsPerSecond: m(func(l *Latency) float64 { return l.CPUSecondsPerSecond }),
	}
}

// JSON writes the report as one line.
func (r *Report) JSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// Table writes the report for a person.
func (r *Report) Table(w io.Writer) {
	fmt.Fprintf(w, "%d records, %d keys, 1 in %d a deposit, %d partitions, %d workers, %s, updates %s; medians of %d runs\n\n",
		r.Records, r.Keys, r.Deposits, r.Partitions, r.Workers, r.Guarantee, r.Updates, len(r.ProcessorRuns))
	fmt.Fprintf(w, "%-34s %12s %12s %8s\n", "", "floor", "processor", "ratio")
	row := func(name, format string, floor, processor, ratio float64) {
		last := ""
		if ratio > 0 {
			last = fmt.Sprintf("%.2f", ratio)
		}
		fmt.Fprintf(w, "%-34s %12s %12s %8s\n", name, fmt.Sprintf(format, floor), fmt.Sprintf(format, processor), last)
	}
	f, p := &r.Floor, &r.Processor
	row("records/s, start included", "%.0f", f.RecordsPerSecond, p.RecordsPerSecond, r.Ratio.RecordsPerSecond)
	row("records/s, second half", "%.0f", f.RecordsPerSecondSecondHalf, p.RecordsPerSecondSecondHalf, r.Ratio.RecordsPerSecondSecondHalf)
	row("CPU s per million records", "%.2f", f.CPUSecondsPerMillion, p.CPUSecondsPerMillion, r.Ratio.CPU)
	row("peak memory, MiB", "%.0f", f.PeakRSSMiB, p.PeakRSSMiB, r.Ratio.PeakRSS)
	row("bytes to Kafka per record", "%.1f", f.KafkaBytesPerRecord, p.KafkaBytesPerRecord, r.Ratio.KafkaBytes)
	row("bytes to disk per record", "%.1f", f.DiskBytesPerRecord, p.DiskBytesPerRecord, 0)
	row("commits", "%.0f", float64(f.Commits), float64(p.Commits), 0)
	if r.ProcessorLatency != nil {
		f, p := r.FloorLatency, r.ProcessorLatency
		ratio := func(a, b float64) float64 { return a / max(b, 1e-9) }
		row("latency p50, ms", "%.1f", f.P50Ms, p.P50Ms, ratio(p.P50Ms, f.P50Ms))
		row("latency p99, ms", "%.1f", f.P99Ms, p.P99Ms, ratio(p.P99Ms, f.P99Ms))
		row("latency p99.9, ms", "%.1f", f.P999Ms, p.P999Ms, ratio(p.P999Ms, f.P999Ms))
		row("commits/s at that rate", "%.0f", f.CommitsPerSecond, p.CommitsPerSecond, 0)
		row("start to first output, s", "%.2f", f.FirstOutputSeconds, p.FirstOutputSeconds, ratio(p.FirstOutputSeconds, f.FirstOutputSeconds))
	}
	if r.RestartKeys > 0 {
		fmt.Fprintf(w, "%-34s %12s %12.2f\n", fmt.Sprintf("resume with %d keys, s", r.RestartKeys), "", r.ResumeSeconds)
		fmt.Fprintf(w, "%-34s %12s %12.2f\n", "the same, store wiped, s", "", r.RestoreSeconds)
		fmt.Fprintf(w, "%-34s %12s %12.0f\n", "restored keys/s", "", r.RestoreKeysPerSecond)
	}
	word := "exact"
	if !r.Exact {
		word = "NOT EXACT"
	}
	if r.Audits > 0 {
		fmt.Fprintf(w, "\naudit: %s, %d of the processor's runs\n", word, r.Audits)
	}
}
