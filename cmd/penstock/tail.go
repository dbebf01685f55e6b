package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
	"github.com/penstock/penstock/cmd/penstock/internal/view"
)

type tailFlags struct {
	shared
	from   string
	json   bool
	csv    bool
	batch  bool
	filter view.Filter
}

const tailExample = `  penstock tail
  penstock tail --from start --session session1
  penstock tail --from start --closing --json | jq .currentBalance`

func (p *program) tailCommand() *cobra.Command {
	f := &tailFlags{}
	cmd := &cobra.Command{
		Use: "tail", Short: "Show the session updates", Example: tailExample, Args: cobra.NoArgs,
		Long: `Tail shows the committed records of the output topic: as a table on a terminal, else as lines "session1 12.50" or, for a
closing update, "session1 closed 12.50". It ends at an interrupt or after --limit updates.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.tail(cmd.Context(), f) }),
	}
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.outputFlag(fs)
	})
	own(cmd, func(fs *pflag.FlagSet) {
		settings.Choice(cmd, fs, &f.from, "from", []string{"end", "start"}, "where to begin")
		fs.BoolVar(&f.json, "json", false, "lines of JSON")
		fs.BoolVar(&f.csv, "csv", false, "lines of CSV, with a header")
		fs.BoolVar(&f.batch, "batches", false, "a table for each batch of updates that arrived together, as Spark's console shows it")
		fs.BoolVar(&f.filter.Closing, "closing", false, "closing updates only")
		fs.StringVar(&f.filter.Session, "session", "", "updates of this session id only")
		fs.IntVar(&f.filter.Limit, "limit", 0, "end after so many updates; 0: go on")
	})
	return cmd
}

func (p *program) tail(ctx context.Context, f *tailFlags) error {
	v, restore, err := p.view(f)
	if err != nil {
		return err
	}
	defer restore()
	reader, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	bad := func(r *kgo.Record, err error) {
		p.say("%s partition %d offset %d: %v", f.output, r.Partition, r.Offset, err)
	}
	return view.Follow(ctx, view.Following{Reader: reader, View: v, Filter: f.filter, Bad: bad})
}

func (f *tailFlags) open(ctx context.Context) (*kafka.Reader, error) {
	cl, err := f.conn.Client(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	if _, err := kafka.Partitions(ctx, cl, f.output); err != nil {
		return nil, err
	}
	offsets := kafka.StableEnds
	if f.from == "start" {
		offsets = kafka.Starts
	}
	from, err := offsets(ctx, cl, f.output)
	if err != nil {
		return nil, err
	}
	return f.conn.NewReader(ctx, f.output, from)
}

// view is the one that is asked for, or fits standard output. While it is a table, what goes to the same terminal by standard error is
// written above it, until restore is called.
func (p *program) view(f *tailFlags) (v view.View, restore func(), err error) {
	restore = func() {}
	switch {
	case f.json && f.csv || f.json && f.batch || f.csv && f.batch:
		return nil, nil, usage(errors.New("--json, --csv and --batches exclude each other"))
	case f.json:
		return view.NewJSONLines(p.stdout), restore, nil
	case f.csv:
		return view.NewCSV(p.stdout), restore, nil
	case f.batch:
		return view.NewBatches(p.stdout), restore, nil
	case !p.terminal:
		return view.NewLines(p.stdout), restore, nil
	}
	table, restore := p.table()
	return table, restore, nil
}

// table is the view for a terminal.
func (p *program) table() (v view.View, restore func()) {
	table, stderr := view.NewTable(p.stdout), p.stderr
	if p.errTerminal {
		p.stderr = table.Above()
		p.setLogger()
	}
	return table, func() { p.stderr = stderr; p.setLogger() }
}
