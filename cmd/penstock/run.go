package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/cmd/penstock/internal/health"
	"github.com/penstock/penstock/cmd/penstock/internal/page"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/session"
)

// serviceFlags are those of run alone. Their settings have no command's name before them: they are the service's.
type serviceFlags struct {
	shared
	engine    engine.Config
	guarantee string
	from      string
	memory    settings.Size

	compression string
	httpFlags
	httpCA string
	pprof  bool
	traces traceFlags
}

const runExample = `  penstock run --brokers localhost:9092 --create-topics
  penstock run --config /etc/penstock.yaml --http :8080
  PENSTOCK_BROKERS=k1:9092,k2:9092 penstock run --instance node-1 --state-dir /var/lib/penstock`

func (p *program) runCommand() *cobra.Command {
	f := &serviceFlags{}
	cmd := &cobra.Command{
		Use: "run", Short: "Run the session window", Example: runExample, Args: cobra.NoArgs,
		Long: `Run sums the wins of each session and closes it at its deposit, until it is told to stop (SIGTERM, SIGINT): it then
finishes its transactions, leaves the group and exits with 0. A second signal kills it, which loses nothing either.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.serve(cmd.Context(), f) }),
	}
	f.declare(cmd)
	return cmd
}

func (f *serviceFlags) declare(cmd *cobra.Command) {
	f.memory = 64 << 20
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.appFlag(fs)
		f.inputFlag(fs)
		f.outputFlag(fs)
		f.windowFlags(cmd, fs)
		c := &f.engine
		fs.StringVar(&c.StateDir, "state-dir", "", "this process's own directory (default: one in the user's cache, by application)")
		fs.StringVar(&c.Instance, "instance", "", "member id that stays the same over restarts, unique in the application (default: kept in the state directory)")
		fs.IntVar(&c.Workers, "workers", max(2, runtime.GOMAXPROCS(0)), "transactional producers that share the partitions")
		fs.Var(&f.memory, "memory", "bound of caches and store together")
		settings.Choice(cmd, fs, &f.guarantee, "guarantee", []string{"exactly-once", "at-least-once"}, "how often a record takes effect")
		settings.Choice(cmd, fs, &f.from, "from", []string{"start", "end"}, "where a partition without a committed offset begins")
		settings.Choice(cmd, fs, &f.compression, "compression", []string{"snappy", "lz4", "zstd", "gzip", "none"}, "of what is written")
		fs.DurationVar(&c.CommitInterval, "commit-interval", 300*time.Millisecond, "longest time between commits under load")
		fs.DurationVar(&c.SessionTimeout, "session-timeout", 10*time.Second, "how long the group waits for a silent member")
		fs.DurationVar(&c.TransactionTimeout, "transaction-timeout", 0, "how long the broker waits for a silent transaction (default: the session timeout)")
		fs.BoolVar(&c.CreateTopics, "create-topics", false, "create input and output where they are missing")
		fs.Int32Var(&c.Partitions, "partitions", 4, "of topics that are created")
		fs.Int16Var(&c.ReplicationFactor, "replication-factor", -1, "of topics that are created; -1: the broker's default")
		fs.IntVar(&c.Standby, "standby", 0, "warm copies of each partition that the other processes keep, for a fast takeover")
		fs.BoolVar(&c.Stay, "stay", false, "keep the membership at a stop, for a restart within the session timeout")
		f.httpFlags.flags(fs, "address to serve a page for people, /livez, /readyz, /metrics and /api/v1 at, such as 127.0.0.1:8080; :8080 is open to the network",
			"/metrics, /api and /debug ask for, the same on all processes; the probes ask for none")
		fs.StringVar(&c.Advertise, "advertise", "", "where the other processes reach this one's --http, to ask for state: host:port or a URL (default: --http, where that names a host)")
		fs.StringVar(&f.httpCA, "http-tls-ca", "", "PEM file of the authority that signed the certificates of the processes' --http, to ask them for state (default: the system's); read again when it changes")
		f.traces.flags(fs)
		fs.BoolVar(&f.pprof, "pprof", false, "serve Go's profiles at /debug/pprof/ as well")
	})
}

// configure turns the flags into what the library takes.
func (f *serviceFlags) configure() (session.Config, engine.Config, error) {
	window, err := f.window()
	faults := []error{err}
	note := func(err error) { faults = append(faults, err) }
	cfg := f.engine
	cfg.MemoryBytes = int64(f.memory)
	note(f.conn.Configure(&cfg))
	cfg.Compression = f.compression
	_, err = f.httpTLS(nil)
	note(err)
	_, err = believing(f.httpCA, nil)
	note(err)
	cfg.Guarantee, err = engine.ParseGuarantee(f.guarantee)
	note(err)
	cfg.BadInput, err = engine.ParseBadInput(f.badInput)
	note(err)
	cfg.From, err = engine.ParseFrom(f.from)
	note(err)
	cfg.TraceRatio = f.traces.ratio
	note(cfg.Validate())
	return window, cfg, errors.Join(faults...)
}

// served is what run answers over HTTP, until ctx is done.
func (p *program) served(ctx context.Context, f *serviceFlags, cfg engine.Config) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", cfg.Monitor.Handler())
	mux.Handle("/api/v1/state/", cfg.Queries.Handler())
	shown := (&page.Page{Status: cfg.Monitor.Status, Config: p.settings, State: session.StateName,
		Owners: f.owners, Updates: f.latest}).Handler(ctx)
	for _, pattern := range page.Patterns() {
		mux.Handle(pattern, shown)
	}
	return mux
}

// advertised is where others may ask by --http alone: nowhere if it stands for all of a machine's addresses.
func advertised(address string, bound net.Addr, secure bool) string {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
		return ""
	}
	_, port, err := net.SplitHostPort(bound.String())
	if err != nil {
		return ""
	}
	if secure {
		return "https://" + net.JoinHostPort(host, port)
	}
	return net.JoinHostPort(host, port)
}

// serveGCPercent lets garbage take 0.7 of what is live, unless GOGC says another: a tenth to an eighth less memory, for CPU time within
// the noise (PERFORMANCE.md).
const serveGCPercent = 70

func (p *program) serve(ctx context.Context, f *serviceFlags) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(serveGCPercent)
	}
	f.conn.Warn = func(err error) { p.logger.Warn(err.Error()) }
	window, cfg, err := f.configure()
	if err != nil {
		return usage(err)
	}
	app := session.Window(window)
	if err := app.Validate(); err != nil {
		return usage(err)
	}
	cfg.Logger = p.logger
	cfg.Monitor = engine.NewMonitor()
	traced, err := f.traces.trace(ctx, p, window.ID, &cfg)
	if err != nil {
		return err
	}
	defer traced()
	g, soft := errgroup.WithContext(ctx)
	serving, ended := context.WithCancel(context.WithoutCancel(ctx)) // probes are answered while the engine stops
	defer ended()
	if f.http != "" {
		l, secure, err := f.listen(p)
		if err != nil {
			return err
		}
		client, err := believing(f.httpCA, func(err error) { p.logger.Warn(err.Error()) })
		if err != nil {
			return usage(err)
		}
		cfg.Queries = &engine.Queries{Token: f.token, Client: client}
		if cfg.Advertise == "" {
			cfg.Advertise = advertised(f.http, l.Addr(), secure)
		}
		server := &health.Server{Handler: p.served(serving, f, cfg), Token: f.token, Pprof: f.pprof, Open: page.Open()}
		g.Go(func() error { return server.Serve(serving, l) })
	}
	p.logger.Info("penstock starts", "version", versionText(), "app", window.ID, "input", window.Input, "output", window.Output,
		"brokers", cfg.Brokers, "workers", cfg.Workers, "guarantee", f.guarantee)
	g.Go(func() error {
		defer ended()
		err := engine.Run(soft, app, cfg)
		if err != nil && (ctx.Err() == nil || !errors.Is(err, context.Canceled)) {
			return err
		}
		if soft.Err() == nil {
			return errors.New("the engine ended by itself")
		}
		return nil
	})
	err = g.Wait()
	if err == nil {
		p.logger.Info("penstock has stopped")
	}
	return err
}
