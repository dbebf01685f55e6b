package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/bench"
	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
)

type benchFlags struct {
	conn   kafka.Connection
	bench  bench.Config
	memory settings.Size
	json   bool
	sweep  bool
}

const benchExample = `  penstock bench
  penstock bench --brokers localhost:9092 --records 4000000 --restart-keys 1000000
  penstock bench --keys 10000000 --records 20000000 --memory 64MiB --rate 0 --runs 1
  penstock bench --brokers localhost:9092 --sweep > RESULTS.md`

func (p *program) benchCommand() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure the processor beside a floor on the same brokers", Example: benchExample, Args: cobra.NoArgs,
		Long: `Bench makes its own load and topics, on the brokers that --brokers names or else on an embedded one, and deletes them in the
end. It runs, by turns and each as a process of its own, the floor (a transactional copy of the same records with a
changelog record for each key and transaction, without JSON or state) and the processor, and prints medians of both and
their ratio. The processor's results are audited.

Exit codes: 0 measured, and exact; 3 not exact; 1 not measured.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.bench(cmd.Context(), f) }),
	}
	share(cmd, func(fs *pflag.FlagSet) { f.conn.Flags(cmd, fs) })
	f.memory = 64 << 20
	own(cmd, func(fs *pflag.FlagSet) {
		c := &f.bench
		fs.IntVar(&c.Load.Records, "records", 1_000_000, "records of the load")
		fs.IntVar(&c.Load.Keys, "keys", 100_000, "sessions of the load")
		fs.IntVar(&c.Load.Deposits, "deposits", 50, "one record in so many is a deposit; 0: none")
		fs.IntVar(&c.Load.RecordSize, "record-size", 0, "least size of a record's value in bytes")
		fs.IntVar(&c.Load.Partitions, "partitions", 4, "of all topics")
		fs.Float64Var(&c.Load.Skew, "skew", 0, "exponent of a Zipf distribution of the keys, above 1; 0: all alike")
		fs.IntVar(&c.Workers, "workers", max(2, runtime.GOMAXPROCS(0)), "transactional producers that share the partitions")
		settings.Choice(cmd, fs, &c.Guarantee, "guarantee", []string{"exactly-once", "at-least-once"}, "how often a record takes effect")
		settings.Choice(cmd, fs, &c.Updates, "updates", updates, "transactions that yield an update, beside deposits")
		fs.Var(&f.memory, "memory", "bound of the processor's caches and store together")
		fs.IntVar(&c.Runs, "runs", 3, "of floor and processor, by turns")
		fs.IntVar(&c.Rate, "rate", 5000, "records a second at which latency is measured; 0: not measured")
		fs.DurationVar(&c.LatencyTime, "latency-time", 10*time.Second, "how long the rate is held")
		fs.IntVar(&c.RestartKeys, "restart-keys", 100_000, "sessions of the restart test; 0: none")
		fs.BoolVar(&c.Audit, "audit", true, "audit the processor's results")
		fs.StringVar(&c.Profile, "profile", "", "write a CPU profile of the processor's last run over the load to this file")
		fs.BoolVar(&f.json, "json", false, "one JSON object")
		fs.BoolVar(&f.sweep, "sweep", false, "vary the load instead, one thing at a time; prints Markdown")
	})
	cmd.AddCommand(p.benchProcessorCommand(), p.benchFloorCommand())
	return cmd
}

func (p *program) bench(ctx context.Context, f *benchFlags) error {
	cfg := f.bench
	cfg.Memory, cfg.Say, cfg.Logger = int64(f.memory), p.say, p.logger
	if p.source("brokers") != "default" {
		cfg.Connection = &f.conn
	}
	if err := cfg.Validate(); err != nil {
		return usage(err)
	}
	var err error
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	debug.SetGCPercent(gcPercent)
	if f.sweep {
		exact, err := bench.Sweep(ctx, cfg, p.stdout)
		return errors.Join(err, notExact(exact || err != nil))
	}
	r, err := bench.Run(ctx, cfg)
	if err != nil {
		return err
	}
	if f.json {
		err = r.JSON(p.stdout)
	} else {
		r.Table(p.stdout)
	}
	return errors.Join(err, notExact(r.Exact))
}

func notExact(exact bool) error {
	if exact {
		return nil
	}
	return &exit{exitNotExact, errors.New("not exact: see the audit above")}
}

// benchProcessorCommand is run, with a profile, as a child of bench.
func (p *program) benchProcessorCommand() *cobra.Command {
	f := &serviceFlags{}
	var profile string
	cmd := &cobra.Command{Use: "processor", Hidden: true, Args: cobra.NoArgs}
	f.declare(cmd)
	cmd.Flags().StringVar(&profile, "profile", "", "file of the CPU profile")
	cmd.RunE = p.verb(func(cmd *cobra.Command, _ []string) error {
		return p.child(profile, func() (int64, error) { return 0, p.serve(cmd.Context(), f) })
	})
	return cmd
}

// benchFloorCommand is the floor, as a child of bench.
func (p *program) benchFloorCommand() *cobra.Command {
	f := &shared{}
	cfg := bench.FloorConfig{}
	var guarantee, profile string
	cmd := &cobra.Command{Use: "floor", Hidden: true, Args: cobra.NoArgs}
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.appFlag(fs)
		f.inputFlag(fs)
		f.outputFlag(fs)
		fs.IntVar(&cfg.Workers, "workers", 2, "clients that share the partitions")
		settings.Choice(cmd, fs, &guarantee, "guarantee", []string{"exactly-once", "at-least-once"}, "with transactions or without")
	})
	cmd.Flags().StringVar(&profile, "profile", "", "file of the CPU profile")
	cmd.RunE = p.verb(func(cmd *cobra.Command, _ []string) error {
		return p.child(profile, func() (int64, error) {
			cfg.Connection, cfg.Name, cfg.Input, cfg.Output = &f.conn, f.app, f.input, f.output
			cfg.Changelog, cfg.Transactions = f.app+"-total-changelog", guarantee == "exactly-once"
			return bench.Floor(cmd.Context(), cfg)
		})
	})
	return cmd
}

// child runs one of the two and prints what it used.
func (p *program) child(profile string, body func() (transactions int64, err error)) error {
	if profile != "" {
		file, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	n, err := body()
	return errors.Join(err, bench.Usage(p.stdout, n))
}
