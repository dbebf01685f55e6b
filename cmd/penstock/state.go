package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
	"github.com/penstock/penstock/cmd/penstock/internal/states"
	"github.com/penstock/penstock/processor/session"
)

type stateFlags struct {
	shared
	endpoints []string
	http      string
	token     string
	httpCert  string
	httpCA    string
	offline   bool
	json      bool
	prefix    string
	limit     int
}

const stateExample = `  penstock state get session1 --endpoint node-1:8080
  penstock state list --prefix session --limit 20 --json
  penstock state get session1 --offline --brokers localhost:9092`

const stateHelp = `State shows the sums of open sessions as they are committed: never one that a transaction may still take back.

With --endpoint it asks running instances, of which any answers for all sessions (see run --http, --advertise); they are
asked in turn, and again while a session's partition is being taken over, for up to 30 s. Without --endpoint, the address of
run's --http is asked on this machine, if the configuration has one; by TLS if it has run's --http-tls-cert, and believed if
it shows that certificate. Without either, or with --offline, the changelog is read, committed records only: that needs no
instance, reads a whole partition for one session, and all of them for a list.`

func (p *program) stateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "state", Short: "Sums of open sessions: get one, list", Example: stateExample, Long: stateHelp,
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	get, list := &stateFlags{}, &stateFlags{}
	g := &cobra.Command{Use: "get ID", Short: "One session's sum; exit status 1 if it is not open", Long: stateHelp, Example: stateExample, Args: cobra.ExactArgs(1),
		RunE: p.verb(func(cmd *cobra.Command, args []string) error { return p.getState(cmd.Context(), get, args[0]) })}
	get.declare(g)
	l := &cobra.Command{Use: "list", Short: "Open sessions in the order of their ids", Long: stateHelp, Example: stateExample, Args: cobra.NoArgs,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.listState(cmd.Context(), list) })}
	list.declare(l)
	ownUnder(l, "state.list", func(fs *pflag.FlagSet) {
		fs.StringVar(&list.prefix, "prefix", "", "only ids that begin so")
		fs.IntVar(&list.limit, "limit", 100, "at most so many; 0: all")
	})
	cmd.AddCommand(g, l)
	return cmd
}

func (f *stateFlags) declare(cmd *cobra.Command) {
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.appFlag(fs)
		fs.StringVar(&f.http, "http", "", "address that run serves at on this machine")
		fs.StringVar(&f.token, "http-token", "", "bearer token that the instances ask for")
		settings.Secret(fs, "http-token")
		fs.StringVar(&f.httpCert, "http-tls-cert", "", "PEM file of the certificate that run serves with at --http on this machine: it is asked by TLS")
		fs.StringVar(&f.httpCA, "http-tls-ca", "", "PEM file of the authority that signed the instances' certificates (default: the system's)")
	})
	ownUnder(cmd, "state."+cmd.Name(), func(fs *pflag.FlagSet) {
		fs.BoolVar(&f.json, "json", false, "lines of JSON")
		fs.BoolVar(&f.offline, "offline", false, "read the changelog, ask no instance")
		fs.StringSliceVar(&f.endpoints, "endpoint", nil, "running instances, host:port or URLs")
	})
}

// source is where the state is read from.
func (f *stateFlags) source(p *program) (states.Source, error) {
	const state = session.StateName
	if f.offline && len(f.endpoints) > 0 {
		return nil, usage(errors.New("--offline and --endpoint exclude each other"))
	}
	own := len(f.endpoints) == 0 && f.http != "" && !f.offline
	if own {
		f.endpoints = []string{states.Local(f.http, f.httpCert != "")}
	}
	if f.offline || len(f.endpoints) == 0 {
		p.logger.Debug("the state is read from the changelog")
		return &states.Changelog{Connection: &f.conn, Topic: f.app + "-" + state + "-changelog"}, nil
	}
	client, err := believing(f.httpCA, nil)
	if own && f.httpCert != "" {
		client, err = believingHolder(f.httpCert)
	}
	if err != nil {
		return nil, usage(err)
	}
	return &states.Running{Endpoints: f.endpoints, Token: f.token, State: state, Client: client}, nil
}

func (p *program) getState(ctx context.Context, f *stateFlags, id string) error {
	if id == "" {
		return usage(errors.New("the session id is empty"))
	}
	source, err := f.source(p)
	if err != nil {
		return err
	}
	e, err := source.Get(ctx, []byte(id))
	if err != nil {
		return f.explain(err)
	}
	if e == nil {
		return fmt.Errorf("session %q is not open", id)
	}
	show, flush := p.stateView(f)
	show(e)
	return flush()
}

func (p *program) listState(ctx context.Context, f *stateFlags) error {
	if f.limit < 0 {
		return usage(fmt.Errorf("limit %d is negative", f.limit))
	}
	source, err := f.source(p)
	if err != nil {
		return err
	}
	show, flush := p.stateView(f)
	more, err := source.List(ctx, states.Range{Prefix: []byte(f.prefix), Limit: f.limit}, show)
	if err != nil {
		return f.explain(err)
	}
	if err := flush(); err != nil {
		return err
	}
	if more {
		p.say("there are more than these %d: raise --limit, or narrow --prefix", f.limit)
	}
	return nil
}

func (f *stateFlags) explain(err error) error {
	if errors.Is(err, kafka.ErrNoTopic) {
		return fmt.Errorf("%w: application %s has not run on these brokers", err, f.app)
	}
	return err
}

// stateView prints entries.
func (p *program) stateView(f *stateFlags) (show func(*states.Entry), flush func() error) {
	if f.json {
		encode := json.NewEncoder(p.stdout)
		encode.SetEscapeHTML(false)
		var failed error
		return func(e *states.Entry) {
			if failed == nil {
				failed = encode.Encode(e)
			}
		}, func() error { return failed }
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tTOTAL\tPARTITION")
	total := session.SessionTrackingValueJSON()
	rows := 0
	return func(e *states.Entry) {
		text := strconv.Quote(string(e.Value))
		if v, err := total.Decode(e.Value); err == nil {
			text = v.TotalSum.String()
		}
		fmt.Fprintf(w, "%s\t%s\t%d\n", shownID(string(e.Key)), text, e.Partition)
		if rows++; rows%tableRows == 0 {
			w.Flush()
		}
	}, w.Flush
}

// shownID quotes an id that would spoil a table.
func shownID(id string) string {
	for _, r := range id {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return strconv.Quote(id)
		}
	}
	return id
}
