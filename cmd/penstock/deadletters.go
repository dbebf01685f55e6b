package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/deadletters"
)

type deadLetterFlags struct {
	shared
	reasons    []string
	from       string
	limit      int
	json       bool
	execute    bool
	maxReplays int
}

const deadLettersExample = `  penstock dead-letters list
  penstock dead-letters list --reason json --limit 20
  penstock dead-letters show 2/17
  penstock dead-letters replay --reason amount-range             what it would do
  penstock dead-letters replay --reason amount-range --execute`

func (p *program) deadLettersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dead-letters", Short: "Records that were rejected: list, show, send again", Example: deadLettersExample,
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	list, show, replay := &deadLetterFlags{}, &deadLetterFlags{}, &deadLetterFlags{}
	l := &cobra.Command{Use: "list", Short: "Counts by reason, and the letters", Args: cobra.NoArgs,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.listLetters(cmd.Context(), list) })}
	list.declare(l, true)
	s := &cobra.Command{Use: "show PARTITION/OFFSET", Short: "One letter, whole", Args: cobra.ExactArgs(1),
		RunE: p.verb(func(cmd *cobra.Command, args []string) error { return p.showLetter(cmd.Context(), show, args[0]) })}
	show.declare(s, false)
	r := &cobra.Command{Use: "replay", Short: "Send letters to their input again, each at most once", Args: cobra.NoArgs,
		Long: `Replay sends dead letters to the topic and partition that they came from, after the fault is mended. Without --execute it
only says how many. Records and progress are one transaction: however often it is interrupted or repeated, with whatever
filters, no letter is sent twice. A record that is rejected again becomes a letter again; after --max-replays it stays.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.replayLetters(cmd.Context(), replay) })}
	replay.declare(r, true)
	ownUnder(r, "dead-letters.replay", func(fs *pflag.FlagSet) {
		fs.BoolVar(&replay.execute, "execute", false, "do it")
		fs.IntVar(&replay.maxReplays, "max-replays", 3, "how often one record is sent again")
	})
	cmd.AddCommand(l, s, r)
	return cmd
}

func (f *deadLetterFlags) declare(cmd *cobra.Command, filters bool) {
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.appFlag(fs)
	})
	ownUnder(cmd, "dead-letters."+cmd.Name(), func(fs *pflag.FlagSet) {
		fs.BoolVar(&f.json, "json", false, "as JSON")
		if filters {
			fs.StringSliceVar(&f.reasons, "reason", nil, "only these reasons")
			fs.StringVar(&f.from, "from", "", "only letters since this time, such as 2026-01-31T08:00:00Z")
			fs.IntVar(&f.limit, "limit", 0, "at most so many letters; 0: all")
		}
	})
}

func (f *deadLetterFlags) filter() (deadletters.Filter, error) {
	filter := deadletters.Filter{Reasons: f.reasons}
	if f.limit < 0 {
		return filter, usage(fmt.Errorf("limit %d is negative", f.limit))
	}
	if f.from == "" {
		return filter, nil
	}
	var err error
	if filter.From, err = time.Parse(time.RFC3339, f.from); err != nil {
		return filter, usage(fmt.Errorf("from: %q is not a time such as 2026-01-31T08:00:00Z", f.from))
	}
	return filter, nil
}

// tableRows is how many rows are laid out together: what is not laid out yet is kept.
const tableRows = 1000

// shownBytes bounds what a list shows of a key or message.
const shownBytes = 60

func (p *program) listLetters(ctx context.Context, f *deadLetterFlags) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	counts := map[string]int{}
	n := 0
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	encode := json.NewEncoder(p.stdout)
	var failed error
	err = deadletters.Each(ctx, &f.conn, f.app, filter, func(l *deadletters.Letter) {
		counts[l.Reason]++
		if n++; failed != nil || f.limit > 0 && n > f.limit {
			return
		}
		if f.json {
			failed = encode.Encode(l)
			return
		}
		_, failed = fmt.Fprintf(w, "%d/%d\t%s\t%s\t%s-%d@%d\t%s\t%s\n", l.Partition, l.Offset, l.Time.Format(time.RFC3339), l.Reason,
			l.Source.Topic, l.Source.Partition, l.Source.Offset, short(l.Key), short(l.Message))
		if n%tableRows == 0 && failed == nil {
			failed = w.Flush()
		}
	})
	if err != nil || failed != nil {
		return firstOf(err, failed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	p.say("%d dead letters of %s", n, f.app)
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		p.say("%8d %s", counts[reason], reason)
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func short(s string) string {
	if len(s) > shownBytes {
		s = s[:shownBytes] + "..."
	}
	return strconv.Quote(s)
}

func (p *program) showLetter(ctx context.Context, f *deadLetterFlags, place string) error {
	left, right, _ := strings.Cut(place, "/")
	partition, err := strconv.ParseInt(left, 10, 32)
	offset, err2 := strconv.ParseInt(right, 10, 64)
	if err != nil || err2 != nil {
		return usage(fmt.Errorf("%q is not PARTITION/OFFSET", place))
	}
	var found *deadletters.Letter
	err = deadletters.Each(ctx, &f.conn, f.app, deadletters.Filter{}, func(l *deadletters.Letter) {
		if l.Partition == int32(partition) && l.Offset == offset {
			found = l
		}
	})
	if err != nil {
		return err
	}
	if found == nil {
		return fmt.Errorf("no dead letter of %s at %s", f.app, place)
	}
	if f.json {
		return json.NewEncoder(p.stdout).Encode(found)
	}
	_, err = fmt.Fprintf(p.stdout, "reason   %s\nmessage  %s\nsource   %s partition %d offset %d\ntime     %s\nreplays  %d\nkey      %q\nvalue    %q\n",
		found.Reason, found.Message, found.Source.Topic, found.Source.Partition, found.Source.Offset, found.Time.Format(time.RFC3339), found.Replays, found.Key, found.Value)
	return err
}

func (p *program) replayLetters(ctx context.Context, f *deadLetterFlags) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	r, err := deadletters.Replay{Connection: &f.conn, App: f.app, Filter: filter, Limit: f.limit, MaxReplays: f.maxReplays, DryRun: !f.execute}.Run(ctx)
	if f.json {
		if encodeErr := json.NewEncoder(p.stdout).Encode(r); encodeErr != nil {
			return firstOf(err, encodeErr)
		}
	} else {
		verb := "would be replayed; add --execute to do it"
		if f.execute {
			verb = "replayed"
		}
		fmt.Fprintf(p.stdout, "%d %s\n%d replayed earlier, %d not chosen, %d too large to be whole, %d replayed too often already\n", r.Replayed, verb, r.Earlier, r.Filtered, r.Truncated, r.Looping)
	}
	return err
}
