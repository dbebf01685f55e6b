package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/doctor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/session"
)

const doctorExample = `  penstock doctor --config /etc/penstock.yaml
  penstock doctor --json && penstock run`

func (p *program) doctorCommand() *cobra.Command {
	f := &serviceFlags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check what a run needs, and say what to do", Example: doctorExample, Args: cobra.NoArgs,
		Long: `Doctor takes the settings of run and checks the brokers, the rights, the topics, the transaction timeout, the clocks, the
state directory and the limits of this machine. A committed offset that an open transaction holds is watched until the
transaction should have ended, by its time-out and some seconds; that takes as long. Each line says ok, warn or fail, and what to do. It may be run beside the
service. Exit codes: 0 nothing fails; 1 something does.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.doctor(cmd.Context(), f, asJSON) }),
	}
	f.declare(cmd)
	own(cmd, func(fs *pflag.FlagSet) { fs.BoolVar(&asJSON, "json", false, "as JSON") })
	return cmd
}

func (p *program) doctor(ctx context.Context, f *serviceFlags, asJSON bool) error {
	window, cfg, err := f.configure()
	if err != nil {
		return usage(err)
	}
	topo, err := session.Window(window).Topology()
	if err != nil {
		return usage(err)
	}
	var changelogs, between, fillers []string
	for i := range topo.States {
		changelogs = append(changelogs, topo.ChangelogTopic(i))
	}
	for _, stage := range topo.Before {
		between = append(between, stage.Outputs...)
		fillers = append(fillers, stage.ID)
	}
	timeout := cfg.TransactionTimeout
	if timeout == 0 {
		timeout = cfg.SessionTimeout
	}
	dir := cfg.StateDir
	if dir == "" {
		dir = engine.DefaultStateDir(f.app)
	}
	checks := doctor.Run(ctx, doctor.Config{Connection: &f.conn, App: f.app, Input: f.input, Output: f.output, Changelogs: changelogs, Repartition: between, Fillers: fillers,
		DeadLetters: cfg.BadInput == engine.DeadLetter, CreateTopics: cfg.CreateTopics, ExactlyOnce: cfg.Guarantee == engine.ExactlyOnce,
		TransactionTimeout: max(timeout, time.Second), StateDir: dir})
	failed := 0
	for _, c := range checks {
		if c.Level == doctor.Fail {
			failed++
		}
		if asJSON {
			continue
		}
		fmt.Fprintf(p.stdout, "%-5s %-16s %s\n", c.Level, c.What, c.Found)
		if c.Do != "" {
			fmt.Fprintf(p.stdout, "%22s -> %s\n", "", c.Do)
		}
	}
	if asJSON {
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(checks); err != nil {
			return err
		}
	}
	if failed > 0 {
		return &exit{exitFailure, errors.New(plural(failed, "check fails", "checks fail"))}
	}
	return nil
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
