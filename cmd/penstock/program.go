package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/settings"
)

// Exit codes, as the help of the root documents them.
const (
	exitFailure  = 1
	exitUsage    = 2
	exitNotExact = 3
)

const rootHelp = `penstock sums each session's wins from a Kafka topic and closes the session at its deposit, exactly once.

Every flag is also a variable (--state-dir is PENSTOCK_STATE_DIR) and a key of the YAML file that --config names
(state-dir). A flag goes before a variable, that before the file, that before the default. Settings that belong to one
command alone stand under its name (tail --from: PENSTOCK_TAIL_FROM, tail.from). "penstock config" shows what is in force.

Exit codes: 0 all went well; 1 a failure; 2 wrong usage or configuration; 3 an audit found the results not exact.`

// program is one call of penstock.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string
	typed          bool // stdin is a terminal
	terminal       bool // stdout is one
	errTerminal    bool // stderr is one

	settings            []settings.Setting // of the command that runs
	logFormat, logLevel string
	level               slog.LevelVar
	logger              *slog.Logger
}

// exit is an error with an exit code.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }

func (e *exit) Unwrap() error { return e.err }

func usage(err error) error {
	if err == nil {
		return nil
	}
	return &exit{exitUsage, err}
}

// run runs the command that args name and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintln(p.stderr, "penstock:", line)
		}
	}
	var e *exit
	if errors.As(err, &e) {
		return e.code
	}
	return exitUsage // all that cobra finds itself
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use: "penstock", Short: "Exactly-once session windows on Kafka", Long: rootHelp,
		SilenceUsage: true, SilenceErrors: true, Version: versionText(),
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see %s --help", err, cmd.CommandPath()))
	})
	fs := root.PersistentFlags()
	fs.String(settings.ConfigFlag, "", "YAML file of settings")
	logging := pflag.NewFlagSet("", pflag.ContinueOnError)
	logging.StringVar(&p.logFormat, "log-format", "text", "logs on standard error: text, json")
	logging.StringVar(&p.logLevel, "log-level", "info", "least level that is logged: debug, info, warn, error")
	settings.Shared(logging)
	fs.AddFlagSet(logging)
	root.AddCommand(p.runCommand(), p.produceCommand(), p.tailCommand(), p.auditCommand(), p.stateCommand(), p.demoCommand(),
		p.doctorCommand(), p.resetCommand(), p.deadLettersCommand(), p.depositsCommand(), p.benchCommand(), p.configCommand(), p.manCommand(), p.versionCommand())
	return root
}

// verb makes a command's body: its settings are loaded before, and its errors have an exit code.
func (p *program) verb(body func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		var err error
		if p.settings, err = settings.Load(cmd, p.environ); err != nil {
			return usage(err)
		}
		if err := p.startLogging(); err != nil {
			return usage(err)
		}
		err = body(cmd, args)
		var e *exit
		switch {
		case err == nil || errors.As(err, &e):
			return err
		case errors.Is(err, context.Canceled) && cmd.Context().Err() != nil:
			return &exit{exitFailure, errors.New("interrupted")}
		}
		return &exit{exitFailure, err}
	}
}

func (p *program) startLogging() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(p.logLevel)); err != nil {
		return fmt.Errorf("log-level %q: use debug, info, warn or error", p.logLevel)
	}
	if p.logFormat != "text" && p.logFormat != "json" {
		return fmt.Errorf("log-format %q: use text or json", p.logFormat)
	}
	p.level.Set(level)
	p.setLogger()
	return nil
}

// setLogger makes the logger on standard error.
func (p *program) setLogger() {
	opts := &slog.HandlerOptions{Level: &p.level}
	p.logger = slog.New(slog.NewTextHandler(p.stderr, opts))
	if p.logFormat == "json" {
		p.logger = slog.New(slog.NewJSONHandler(p.stderr, opts))
	}
}

// source is where a setting's value comes from.
func (p *program) source(key string) string {
	for _, s := range p.settings {
		if s.Key == key {
			return s.Source
		}
	}
	return ""
}

// say writes a line for a person to standard error.
func (p *program) say(format string, args ...any) { fmt.Fprintf(p.stderr, format+"\n", args...) }
