package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/auditor"
	"github.com/penstock/penstock/cmd/penstock/internal/view"
	"github.com/penstock/penstock/processor/session"
)

type auditFlags struct {
	shared
	json bool
	wait time.Duration
}

const auditExample = `  penstock audit
  penstock audit --app penstock --input transactions --output session-updates --json
  penstock audit --updates last --wait 2m`

func (p *program) auditCommand() *cobra.Command {
	f := &auditFlags{}
	cmd := &cobra.Command{
		Use: "audit", Short: "Prove the results exact, or show what is not", Example: auditExample, Args: cobra.NoArgs,
		Long: `Audit recomputes every update from the input topic by a simple model that shares no code with the engine, and compares it
with the output topic, the dead letters and the changelog: what is lost, duplicated, wrong or out of order. It may run
while the application does. It must be told what the application was told (--app, --input-format, --updates, --bad-input,
--idle-timeout, --repartition). Sessions that an idle timeout closed it takes from the output, and checks their balances; it can do so
only with --updates every. With --repartition it finds each record of the input once in the topic between, and judges the rest by that.

Exit codes: 0 exact; 3 not exact, or not processed within --wait; 1 the audit could not be made.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.audit(cmd.Context(), f) }),
	}
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.appFlag(fs)
		f.inputFlag(fs)
		f.outputFlag(fs)
		f.windowFlags(cmd, fs)
	})
	own(cmd, func(fs *pflag.FlagSet) {
		fs.BoolVar(&f.json, "json", false, "one line of JSON; what is wrong goes to standard error")
		fs.DurationVar(&f.wait, "wait", 30*time.Second, "how long the application may take to process what the input holds now")
	})
	return cmd
}

func (p *program) audit(ctx context.Context, f *auditFlags) error {
	cfg, err := f.shared.audit()
	if err != nil {
		return usage(err)
	}
	if cfg.Idle && cfg.Updates != session.UpdatesEvery {
		return usage(fmt.Errorf("idle timeout %v with updates %v: where a session was closed can be told only with updates every", f.idleTimeout, cfg.Updates))
	}
	debug.SetGCPercent(gcPercent)
	of := auditor.Config{Connection: &f.conn, App: f.app, Output: f.output, Audit: cfg, Wait: f.wait}
	if f.repartition {
		of.Between = f.keyed()
	}
	report, err := auditor.Run(ctx, of)
	if err != nil {
		return err
	}
	if f.json {
		err = json.NewEncoder(p.stdout).Encode(report.Verdict)
		printFaults(p.stderr, report)
	} else {
		printReport(p.stdout, report)
	}
	return errors.Join(err, verdict(report))
}

// gcPercent trades some CPU for memory: nearly all that an audit allocates is kept until its end.
const gcPercent = 40

// verdict is nil for an exact report.
func verdict(r auditor.Report) error {
	switch {
	case r.Exact():
		return nil
	case r.Behind > 0:
		return &exit{exitNotExact, fmt.Errorf("not exact: %d input records are not processed", r.Behind)}
	}
	return &exit{exitNotExact, fmt.Errorf("not exact: %d lost, %d duplicated, %d wrong, %d out of order", r.Lost, r.Duplicated, r.Wrong, r.OutOfOrder)}
}

func printReport(w io.Writer, r auditor.Report) {
	word := "NOT EXACT"
	if r.Exact() {
		word = "exact"
	}
	fmt.Fprintf(w, "audit: %s\n", word)
	for _, line := range []struct {
		name string
		n    int64
	}{
		{"transactions", r.Transactions}, {"updates", r.Updates}, {"deposits", r.Deposits}, {"dead letters", r.DeadLetters},
		{"open sessions", r.OpenSessions}, {"lost", r.Lost}, {"duplicated", r.Duplicated}, {"wrong", r.Wrong}, {"out of order", r.OutOfOrder},
	} {
		fmt.Fprintf(w, "  %-14s %14s\n", line.name, view.Number(line.n))
	}
	printFaults(w, r)
}

func printFaults(w io.Writer, r auditor.Report) {
	for _, line := range append(r.Notes, r.Examples...) {
		fmt.Fprintf(w, "  %s\n", line)
	}
}
