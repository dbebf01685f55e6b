package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/session"
)

type resetFlags struct {
	shared
	to        string
	toOffsets []string
	execute   bool
	json      bool
}

const resetExample = `  penstock reset                                  what it would do
  penstock reset --execute                        everything again, from the start of the input
  penstock reset --to end --execute               forget all sessions, go on with what comes
  penstock reset --to 2026-01-31T08:00:00Z --execute
  penstock reset --to-offsets 0=100,1=120 --execute`

func (p *program) resetCommand() *cobra.Command {
	f := &resetFlags{}
	cmd := &cobra.Command{
		Use: "reset", Short: "Process the input again from a chosen place, with empty state", Example: resetExample, Args: cobra.NoArgs,
		Long: `Reset drops the state of an application and sets where its input is processed from. Without --execute it only says what it
would do. It refuses while a member of the application lives. It shuts out frozen processes, makes the changelogs anew and
makes every local copy of the state unusable. It may be interrupted and repeated, with the same arguments, at any
point; until it has ended, run refuses. Updates that the output holds stay there, and those of what is processed again
come once more. Dead letters stay. It must be told what run will be told of --idle-timeout and
--repartition, which have topics of their own.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.reset(cmd.Context(), f) }),
	}
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.appFlag(fs)
		f.inputFlag(fs)
		f.outputFlag(fs)
		f.idleFlag(fs)
		f.repartitionFlag(fs)
	})
	own(cmd, func(fs *pflag.FlagSet) {
		fs.StringVar(&f.to, "to", "start", "where to process from: start, end, or a time such as 2026-01-31T08:00:00Z")
		fs.StringSliceVar(&f.toOffsets, "to-offsets", nil, "offsets of all partitions instead, as PARTITION=OFFSET,...")
		fs.BoolVar(&f.execute, "execute", false, "do it")
		fs.BoolVar(&f.json, "json", false, "the plan as JSON")
	})
	return cmd
}

// point reads --to and --to-offsets.
func (f *resetFlags) point() (engine.ResetPoint, error) {
	var p engine.ResetPoint
	if len(f.toOffsets) > 0 {
		p.Offsets = map[int32]int64{}
		for _, pair := range f.toOffsets {
			left, right, _ := strings.Cut(pair, "=")
			partition, err := strconv.ParseInt(left, 10, 32)
			offset, err2 := strconv.ParseInt(right, 10, 64)
			if _, twice := p.Offsets[int32(partition)]; err != nil || err2 != nil || twice {
				return p, fmt.Errorf("to-offsets: %q is not PARTITION=OFFSET, each partition once", pair)
			}
			p.Offsets[int32(partition)] = offset
		}
		return p, nil
	}
	switch f.to {
	case "start":
	case "end":
		p.End = true
	default:
		at, err := time.Parse(time.RFC3339, f.to)
		if err != nil {
			return p, fmt.Errorf("to: %q is not start, end or a time such as 2026-01-31T08:00:00Z", f.to)
		}
		p.Time = at
	}
	return p, nil
}

func (p *program) reset(ctx context.Context, f *resetFlags) error {
	to, err := f.point()
	if err != nil {
		return usage(err)
	}
	cfg, err := f.admin()
	if err = errors.Join(err, f.checkIdle()); err != nil {
		return usage(err)
	}
	cfg.Logger = p.logger
	app := session.Window(session.Config{ID: f.app, Input: f.input, Output: f.output, Idle: f.idleTimeout, Repartition: f.repartition})
	do := engine.PlanReset
	if f.execute {
		do = engine.Reset
	}
	plan, err := do(ctx, app, cfg, to)
	if plan != nil && (err == nil || errors.Is(err, engine.ErrLive)) {
		if printErr := p.printPlan(plan, f); printErr != nil {
			return printErr
		}
	}
	switch {
	case err != nil:
		return err
	case f.execute:
		p.say("reset of %s is done: run goes on from the offsets above", f.app)
	case len(plan.Members) > 0:
		p.say("nothing was changed. Stop the members first, then add --execute")
	default:
		p.say("nothing was changed: add --execute to do it")
	}
	return nil
}

func (p *program) printPlan(plan *engine.ResetPlan, f *resetFlags) error {
	if f.json {
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		return e.Encode(plan)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("application\t%s", plan.App)
	if plan.Resumes {
		line("\tan earlier reset has not ended; this one goes on with it")
	}
	if len(plan.Members) > 0 {
		line("live members\t%s", strings.Join(plan.Members, ", "))
	}
	line("fences\t%d transactional ids", len(plan.TransactionalIDs))
	if len(plan.Spared) > 0 {
		line("spares\t%s: of other applications by their groups' names", strings.Join(plan.Spared, ", "))
	}
	for _, c := range plan.Changelogs {
		switch {
		case c.Exists:
			line("makes anew\t%s: %d partitions, %d offsets of state are lost, settings %v", c.Topic, c.Partitions, c.Records, c.Configs)
		default:
			line("makes\t%s: %d partitions", c.Topic, c.Partitions)
		}
	}
	for _, t := range plan.Deleted {
		line("deletes\t%s", t)
	}
	for _, in := range plan.Inputs {
		was := "none"
		if in.Committed >= 0 {
			was = strconv.FormatInt(in.Committed, 10)
		}
		line("offset\t%s-%d: %s -> %d (end %d)", in.Topic, in.Partition, was, in.To, in.End)
	}
	line("downstream\t%s will see the updates of %d offsets, those it has seen before once more", strings.Join(plan.Outputs, ", "), plan.Records)
	return w.Flush()
}
