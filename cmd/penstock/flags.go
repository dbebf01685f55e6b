package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/processor/session/audit"

	"github.com/penstock/penstock/cmd/penstock/internal/feed"
)

// shared are the settings that several commands have.
type shared struct {
	conn          kafka.Connection
	app           string
	input, output string
	inputFormat   string
	updates       string
	badInput      string
	idleTimeout   time.Duration
	repartition   bool
}

// Words of flags.
var (
	formats   = []string{string(feed.JSON), string(feed.CSV)}
	updates   = []string{"every", "last", "closing"}
	badInputs = []string{"dlq", "skip", "fail"}
)

// share adds flags whose settings have no command's name before them.
func share(cmd *cobra.Command, declare func(fs *pflag.FlagSet)) {
	declare(cmd.Flags())
	settings.Shared(cmd.Flags())
}

// own adds flags whose settings are the command's alone.
func own(cmd *cobra.Command, declare func(fs *pflag.FlagSet)) { ownUnder(cmd, cmd.Name(), declare) }

// ownUnder does so under another name: that of a command's command.
func ownUnder(cmd *cobra.Command, name string, declare func(fs *pflag.FlagSet)) {
	declare(cmd.Flags())
	settings.Own(cmd.Flags(), name)
}

func (s *shared) appFlag(fs *pflag.FlagSet) {
	fs.StringVar(&s.app, "app", "penstock", "application id: names its group and its topics")
}

func (s *shared) inputFlag(fs *pflag.FlagSet) {
	fs.StringVar(&s.input, "input", "transactions", "topic of transactions, keyed by session id")
}

func (s *shared) outputFlag(fs *pflag.FlagSet) {
	fs.StringVar(&s.output, "output", "session-updates", "topic of session updates")
}

func (s *shared) idleFlag(fs *pflag.FlagSet) {
	fs.DurationVar(&s.idleTimeout, "idle-timeout", 0, "close a session that has seen no transaction for that long; 0: never")
}

// checkIdle refuses a time-out that closes sessions at once.
func (s *shared) checkIdle() error {
	if s.idleTimeout < 0 || s.idleTimeout > 0 && s.idleTimeout < time.Millisecond {
		return fmt.Errorf("idle timeout %v: use at least 1ms, or 0 for none", s.idleTimeout)
	}
	return nil
}

// windowFlags are what the window is told and the audit must know.
func (s *shared) windowFlags(cmd *cobra.Command, fs *pflag.FlagSet) {
	settings.Choice(cmd, fs, &s.inputFormat, "input-format", formats, "format of the input's records")
	settings.Choice(cmd, fs, &s.updates, "updates", updates, "transactions that yield an update, beside deposits")
	settings.Choice(cmd, fs, &s.badInput, "bad-input", badInputs, "what becomes of a bad record: to the dead letters, passed over, or the end")
	s.idleFlag(fs)
	s.repartitionFlag(fs)
}

func (s *shared) repartitionFlag(fs *pflag.FlagSet) {
	fs.BoolVar(&s.repartition, "repartition", false, "give the input's records their key, the session id, by way of the topic APP-INPUT-repartition")
}

// keyed is the topic that the window itself reads.
func (s *shared) keyed() string {
	if s.repartition {
		return s.app + "-" + s.input + "-repartition"
	}
	return s.input
}

func (s *shared) window() (session.Config, error) {
	u, err := session.ParseUpdates(s.updates)
	return session.Config{ID: s.app, Input: s.input, Output: s.output, Format: feed.Format(s.inputFormat).Codec(), Updates: u,
		Idle: s.idleTimeout, Repartition: s.repartition}, errors.Join(err, s.checkIdle())
}

func (s *shared) audit() (audit.Config, error) {
	u, err := session.ParseUpdates(s.updates)
	return audit.Config{Input: s.input, Format: feed.Format(s.inputFormat).Codec(), Updates: u, SkipBad: s.badInput == "skip",
		Idle: s.idleTimeout > 0}, errors.Join(err, s.checkIdle())
}

// admin is what the library needs for a task that is not a run.
func (s *shared) admin() (cfg engine.Config, err error) {
	err = s.conn.Configure(&cfg)
	return cfg, err
}
