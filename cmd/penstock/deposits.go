package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/deposits"
	"github.com/penstock/penstock/cmd/penstock/internal/deposits/postgres"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
)

type depositsFlags struct {
	shared
	postgres       string
	group          string
	instance       string
	from           string
	skip           []string
	sessionTimeout time.Duration
	httpFlags
}

// #nosec G101 -- a word in place of a secret
const depositsExample = `  penstock deposits --postgres postgres://penstock@localhost/bank
  PENSTOCK_DEPOSITS_POSTGRES='postgres://penstock:SECRET@db/bank?sslmode=verify-full' penstock deposits --config penstock.yaml
  psql bank -c 'SELECT session_id, sum(amount) FROM penstock_deposits GROUP BY session_id'`

func (p *program) depositsCommand() *cobra.Command {
	f := &depositsFlags{}
	cmd := &cobra.Command{
		Use: "deposits", Short: "Store closing updates in PostgreSQL, each exactly once", Example: depositsExample, Args: cobra.NoArgs,
		Long: `Deposits copies the closing updates of the output topic to the table penstock_deposits, until it is told to stop. Rows and
progress are one database transaction, so that each update is there once, whatever crashes. Several processes share the
partitions. While the database or the brokers do not answer it waits. The tables are made at the first start.

An update that cannot be read stops it, with its place; --skip passes over it.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.deposits(cmd.Context(), f) }),
	}
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.outputFlag(fs)
	})
	own(cmd, func(fs *pflag.FlagSet) {
		fs.StringVar(&f.postgres, "postgres", "", "the database, as a URL or key=value pairs; with a password better given as PENSTOCK_DEPOSITS_POSTGRES, or PGPASSWORD beside it")
		settings.Secret(fs, "postgres")
		fs.StringVar(&f.group, "group", "", "consumer group that shares the partitions (default: the output's name and -deposits)")
		fs.StringVar(&f.instance, "instance", "", "member id that stays the same over restarts, unique in the group: a restart takes its partitions back at once, and a stop keeps them until the session times out")
		settings.Choice(cmd, fs, &f.from, "from", []string{"start", "end"}, "where a partition begins that the database does not know")
		fs.StringSliceVar(&f.skip, "skip", nil, "records to pass over, as PARTITION/OFFSET")
		fs.DurationVar(&f.sessionTimeout, "session-timeout", 10*time.Second, "how long the group waits for a silent member")
		f.httpFlags.flags(fs, "address to serve /metrics, /livez and /readyz at", "/metrics asks for; the probes ask for none")
	})
	return cmd
}

func (p *program) deposits(ctx context.Context, f *depositsFlags) error {
	cfg, err := f.configure()
	if err != nil {
		return usage(err)
	}
	sink, err := postgres.New(f.postgres, p.logger)
	if err != nil {
		return usage(err)
	}
	defer sink.Close()
	cfg.Sink, cfg.Logger, cfg.Metrics = sink, p.logger, deposits.NewMetrics()
	watched, err := f.httpFlags.serve(ctx, p, counted(cfg.Metrics.Ready, cfg.Metrics))
	if err != nil {
		return err
	}
	defer watched()
	p.logger.Info("penstock deposits starts", "version", versionText(), "output", cfg.Topic, "group", cfg.Group, "owner", cfg.Owner,
		"database", sink.Name(), "brokers", f.conn.Brokers)
	if err := deposits.Run(ctx, cfg); err != nil {
		return err
	}
	p.logger.Info("penstock deposits has stopped")
	return nil
}

// configure turns the flags into what deposits takes.
func (f *depositsFlags) configure() (deposits.Config, error) {
	var faults []error
	if f.postgres == "" {
		faults = append(faults, errors.New("no database: give --postgres or PENSTOCK_DEPOSITS_POSTGRES"))
	}
	if f.sessionTimeout < time.Second {
		faults = append(faults, fmt.Errorf("session timeout %v: use at least 1s", f.sessionTimeout))
	}
	cfg := deposits.Config{Connection: &f.conn, Topic: f.output, Group: f.group, Instance: f.instance, Owner: owner(f.instance),
		SessionTimeout: f.sessionTimeout, FromEnd: f.from == "end"}
	if cfg.Group == "" {
		cfg.Group = f.output + "-deposits"
	}
	for _, s := range f.skip {
		place, err := place(s)
		faults = append(faults, err)
		cfg.Skip = append(cfg.Skip, place)
	}
	return cfg, errors.Join(faults...)
}

// place reads PARTITION/OFFSET.
func place(s string) (deposits.Place, error) {
	partition, offset, _ := strings.Cut(s, "/")
	p, err := strconv.ParseInt(partition, 10, 32)
	o, err2 := strconv.ParseInt(offset, 10, 64)
	if err != nil || err2 != nil || p < 0 || o < 0 {
		return deposits.Place{}, fmt.Errorf("skip %q: use PARTITION/OFFSET, such as 3/1207", s)
	}
	return deposits.Place{Partition: int32(p), Offset: o}, nil
}

// owner names this process, for those who look into the database: no other process, before or after, has its name.
func owner(instance string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if instance == "" {
		instance = strconv.Itoa(os.Getpid())
	}
	return host + "/" + instance + "/" + rand.Text()[:10]
}
