package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// point is one line of the sweep.
type point struct {
	name  string
	apply func(*Config)
}

// sweeps are the tables: in each, one thing is varied. The longest comes last.
var sweeps = []struct {
	name   string
	points []point
}{
	{"Partitions", []point{
		{"1", func(c *Config) { c.Load.Partitions = 1 }},
		{"16", func(c *Config) { c.Load.Partitions = 16 }},
		{"64", func(c *Config) { c.Load.Partitions = 64 }},
		{"256", func(c *Config) { c.Load.Partitions = 256 }},
	}},
	{"Workers", []point{
		{"1", func(c *Config) { c.Workers = 1 }},
		{"2", func(c *Config) { c.Workers = 2 }},
		{"4", func(c *Config) { c.Workers = 4 }},
	}},
	{"Hot keys: Zipf exponent", []point{
		{"1.01", func(c *Config) { c.Load.Skew = 1.01 }},
		{"1.5", func(c *Config) { c.Load.Skew = 1.5 }},
	}},
	{"Record size in bytes", []point{
		{"200", func(c *Config) { c.Load.RecordSize = 200 }},
		{"1000", func(c *Config) { c.Load.RecordSize = 1000; c.Load.Records /= 4 }},
		{"10000", func(c *Config) { c.Load.RecordSize = 10_000; c.Load.Records /= 20 }},
	}},
	{"Updates", []point{
		{"last", func(c *Config) { c.Updates = "last" }},
		{"closing", func(c *Config) { c.Updates = "closing" }},
	}},
	{"Guarantee", []point{
		{"at-least-once", func(c *Config) { c.Guarantee = "at-least-once" }},
	}},
	{"Keys", []point{
		{"1 k", func(c *Config) { c.Load.Keys = 1000 }},
		{"10 k", func(c *Config) { c.Load.Keys = 10_000 }},
		{"100 k", func(c *Config) { c.Load.Keys = 100_000 }},
		{"1 M", func(c *Config) { c.Load.Keys = 1_000_000 }},
		{"10 M", func(c *Config) { c.Load.Keys = 10_000_000; c.Load.Records = max(c.Load.Records, 10_000_000) }},
	}},
}

// Sweep measures throughput over loads that differ in one thing from cfg's, and writes Markdown tables. It reports whether
// all results were exact.
func Sweep(ctx context.Context, cfg Config, w io.Writer) (exact bool, err error) {
	exact = true
	cfg.Rate, cfg.RestartKeys, cfg.Profile = 0, 0, ""
	fmt.Fprintf(w, "%s, %d cores, %s, brokers on the same machine. Unless the line says otherwise: %d records, %d keys, 1 in %d a deposit, "+
		"%d partitions, %d workers, %s, memory flag %.0f MiB; medians of %d runs, by turns.\n",
		cpuName(), runtime.NumCPU(), time.Now().Format(time.DateOnly), cfg.Load.Records, cfg.Load.Keys, cfg.Load.Deposits, cfg.Load.Partitions,
		cfg.Workers, cfg.Guarantee, mib(cfg.Memory), cfg.Runs)
	for _, s := range sweeps {
		fmt.Fprintf(w, "\n| %s | floor records/s | processor records/s | ratio | CPU s per million | MiB | to Kafka, B/record | to disk, B/record | commits |\n|---|---|---|---|---|---|---|---|---|\n", s.name)
		for _, p := range s.points {
			c := cfg
			p.apply(&c)
			r, err := Run(ctx, c)
			if err != nil {
				return exact, fmt.Errorf("%s %s: %w", s.name, p.name, err)
			}
			exact = exact && r.Exact
			note := ""
			if !r.Exact {
				note = ", NOT EXACT"
			}
			fmt.Fprintf(w, "| %s%s | %.0f k | %.0f k | %.2f | %.2f | %.0f | %.1f | %.1f | %d |\n", p.name, note,
				r.Floor.RecordsPerSecondSecondHalf/1000, r.Processor.RecordsPerSecondSecondHalf/1000, r.Ratio.RecordsPerSecondSecondHalf,
				r.Processor.CPUSecondsPerMillion, r.Processor.PeakRSSMiB, r.Processor.KafkaBytesPerRecord, r.Processor.DiskBytesPerRecord,
				r.Processor.Commits)
		}
	}
	return exact, nil
}

// cpuName is the processor's name where the system tells it.
func cpuName() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}
