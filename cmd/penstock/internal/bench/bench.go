// Package bench measures the processor beside a floor: the same records copied in transactions of the same kind, with a
// changelog record for each key and transaction, but without JSON, state, rollback or restore. Nothing that keeps the
// promises of exactly-once can be faster than the floor on the same brokers, so a ratio to it holds on any machine.
//
// Both run as processes of their own, so that their CPU time and memory are told apart from the load's. Their progress
// is what the brokers say: the committed offsets of their groups.
package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/auditor"
	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/processor/session/audit"
)

// Config is a benchmark's.
type Config struct {
	Load Load

	Workers   int
	Guarantee string
	Updates   string
	Memory    int64 // bytes

	Runs        int           // of floor and processor, by turns
	Rate        int           // records a second of the latency test; 0: none
	LatencyTime time.Duration // how long the rate is held
	RestartKeys int           // of the restart test; 0: none
	Audit       bool          // of each run of the processor
	Profile     string        // file of the processor's CPU profile; empty: none

	Connection *kafka.Connection // nil: an embedded broker
	Program    string            // path of the binary, whose children do the work
	Logger     *slog.Logger
	Say        func(format string, args ...any)
}

// Validate returns every fault of c, joined, or nil.
func (c Config) Validate() error {
	var faults []error
	bad := func(when bool, format string, args ...any) {
		if when {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	bad(c.Load.Records < 1, "records %d: use at least 1", c.Load.Records)
	bad(c.Load.Keys < 1, "keys %d: use at least 1", c.Load.Keys)
	bad(c.Load.Partitions < 1, "partitions %d: use at least 1", c.Load.Partitions)
	bad(c.Load.Deposits < 0, "deposits %d is negative: use 0 for none", c.Load.Deposits)
	bad(c.Load.Skew != 0 && c.Load.Skew <= 1, "skew %g: use 0 for none, or the exponent of a Zipf distribution, above 1", c.Load.Skew)
	bad(c.Runs < 1, "runs %d: use at least 1", c.Runs)
	bad(c.Rate < 0, "rate %d is negative", c.Rate)
	bad(c.RestartKeys < 0, "restart-keys %d is negative", c.RestartKeys)
	return errors.Join(faults...)
}

// Run measures.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(dir)
	b := &bench{cfg: cfg, conn: cfg.Connection, dir: dir, name: fmt.Sprintf("penstock-bench-%d", time.Now().UnixNano())}
	if b.conn == nil {
		stop, err := b.embed()
		if err != nil {
			return Report{}, err
		}
		defer stop()
	}
	if b.cl, err = b.conn.Client(ctx); err != nil {
		return Report{}, err
	}
	defer b.cl.Close()
	defer b.deleteTopics()
	return b.run(ctx)
}

type bench struct {
	cfg    Config
	conn   *kafka.Connection
	cl     *kgo.Client
	dir    string
	name   string   // what all topics and groups begin with
	topics []string // created so far
	jobs   int
}

// embed starts a broker in this process, its log on disk.
func (b *bench) embed() (stop func(), err error) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(filepath.Join(b.dir, "broker")),
		kfake.BrokerConfigs(map[string]string{"group.initial.rebalance.delay.ms": "0"}))
	if err != nil {
		return nil, fmt.Errorf("start the embedded broker: %w", err)
	}
	b.conn = &kafka.Connection{Brokers: cluster.ListenAddrs()}
	return cluster.Close, nil
}

func (b *bench) run(ctx context.Context) (Report, error) {
	r := Report{Load: b.cfg.Load, Workers: b.cfg.Workers, Guarantee: b.cfg.Guarantee, Updates: b.cfg.Updates,
		MemoryFlagMiB: mib(b.cfg.Memory), Broker: "embedded", Exact: true}
	if b.cfg.Connection != nil {
		r.Broker = "kafka"
	}
	for _, step := range []func(context.Context, *Report) error{b.throughput, b.latency, b.restart} {
		if err := step(ctx, &r); err != nil {
			return r, err
		}
	}
	r.summarize()
	return r, nil
}

// throughput runs floor and processor by turns on one input.
func (b *bench) throughput(ctx context.Context, r *Report) error {
	input := b.name + "-input"
	if err := b.createTopic(ctx, input, false); err != nil {
		return err
	}
	b.cfg.Say("loading %d records", b.cfg.Load.Records)
	if err := b.cfg.Load.Fill(ctx, b.conn, input); err != nil {
		return err
	}
	for i := range b.cfg.Runs {
		for _, kind := range []string{kindFloor, kindProcessor} {
			if err := b.throughputRun(ctx, r, kind, input, i); err != nil {
				return fmt.Errorf("%s, run %d: %w", kind, i+1, err)
			}
		}
	}
	return nil
}

func (b *bench) throughputRun(ctx context.Context, r *Report, kind, input string, i int) error {
	j, err := b.newJob(ctx, kind, input)
	if err != nil {
		return err
	}
	defer b.discard(j)
	if kind == kindProcessor && i == b.cfg.Runs-1 {
		j.profile = b.cfg.Profile
	}
	m, err := b.race(ctx, j)
	if err != nil {
		return err
	}
	b.cfg.Say("%-9s %d: %7.0f records/s, second half %7.0f, %.2f CPU s per million, %.0f MiB", kind, i+1,
		m.RecordsPerSecond, m.RecordsPerSecondSecondHalf, m.CPUSecondsPerMillion, m.PeakRSSMiB)
	if kind == kindFloor {
		r.FloorRuns = append(r.FloorRuns, m)
		return nil
	}
	r.ProcessorRuns = append(r.ProcessorRuns, m)
	return b.audit(ctx, r, j)
}

// audit judges a processor's results.
func (b *bench) audit(ctx context.Context, r *Report, j *job) error {
	if !b.cfg.Audit {
		return nil
	}
	u, err := session.ParseUpdates(b.cfg.Updates)
	if err != nil {
		return err
	}
	report, err := auditor.Run(ctx, auditor.Config{Connection: b.conn, App: j.app, Output: j.output, Wait: auditWait,
		Audit: audit.Config{Input: j.input, Updates: u}})
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	r.Audits++
	if !report.Exact() {
		r.Exact = false
		b.cfg.Say("the audit of %s: %d lost, %d duplicated, %d wrong, %d out of order, %d not processed", j.app,
			report.Lost, report.Duplicated, report.Wrong, report.OutOfOrder, report.Behind)
		for _, line := range append(report.Notes, report.Examples...) {
			b.cfg.Say("  %s", line)
		}
	}
	return nil
}

const auditWait = 30 * time.Second
