// Package script tests an application by scenarios that are written as text, with what they yield below each command:
//
//	send
//	clicks ada /home
//	clicks ada /shop
//	----
//
//	advance 31m
//	----
//
//	crash
//	----
//
//	commit
//	----
//	visits-ended ada "2 clicks"
//
//	timers idle
//	----
//	(none)
//
// The commands:
//
//	send             one record a line: topic, key, and the value to the end of the line; (null) is a null key or value.
//	                 The topic is an input, or a table's: the row is there at once
//	advance 30m      the wall clock
//	commit           prints the outputs and dead letters that it made visible
//	abort, flush, crash, crash wipe
//	state NAME, changelog NAME, timers NAME
//
// go test -rewrite writes what the commands yield into the files; look at the difference before you keep it.
package script

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// Run runs each script that path, a file or a directory of files, holds on an application of its own.
func Run(t *testing.T, path string, app func() *processor.App) {
	datadriven.Walk(t, path, func(t *testing.T, path string) {
		a := app()
		r := &runner{app: a, d: processortest.New(t, a)}
		datadriven.RunTest(t, path, func(t *testing.T, cmd *datadriven.TestData) string {
			out, err := r.run(cmd)
			if err != nil {
				cmd.Fatalf(t, "%v", err)
			}
			return out
		})
	})
}

type runner struct {
	app  *processor.App
	d    *processortest.Driver
	seen int // records of all topics that commit printed
}

func (r *runner) run(cmd *datadriven.TestData) (string, error) {
	arg := ""
	if len(cmd.CmdArgs) > 0 {
		arg = cmd.CmdArgs[0].Key
	}
	switch cmd.Cmd {
	case "send":
		return "", r.send(cmd.Input)
	case "advance":
		by, err := time.ParseDuration(arg)
		if err != nil {
			return "", err
		}
		r.d.Advance(by)
	case "commit":
		r.d.Commit()
		return r.committed(), nil
	case "abort":
		r.d.Abort()
	case "flush":
		r.d.Flush()
	case "crash":
		if arg == "wipe" {
			r.d.CrashAndWipe()
		} else {
			r.d.Crash()
		}
	case "state":
		return sorted(r.d.State(arg), func(v string) string { return text([]byte(v)) }), nil
	case "timers":
		return sorted(r.d.Timers(arg), func(at time.Time) string { return at.Format(time.RFC3339Nano) }), nil
	case "changelog":
		return records(r.d.Changelog(arg)), nil
	default:
		return "", fmt.Errorf("no command %q: use send, advance, commit, abort, flush, crash, state, changelog or timers", cmd.Cmd)
	}
	return "", nil
}

func (r *runner) send(lines string) error {
	for line := range strings.Lines(lines) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		if len(fields) < 2 {
			return fmt.Errorf("line %q: write a topic, a key, and a value", line)
		}
		value := ""
		if len(fields) == 3 {
			value = fields[2]
		}
		r.d.SendRecord(processortest.Record{Topic: fields[0], Key: bytes(fields[1]), Value: bytes(value)})
	}
	return nil
}

const null = "(null)"

func bytes(field string) []byte {
	if field == null {
		return nil
	}
	return []byte(field)
}

func (r *runner) committed() string {
	all := r.d.Committed()
	fresh := all[r.seen:]
	r.seen = len(all)
	return records(fresh)
}

// records prints each record on a line: topic, key, value and headers, of a dead letter's the reason alone, since others
// name places.
func records(list []processortest.Record) string {
	var b strings.Builder
	for _, rec := range list {
		fmt.Fprintf(&b, "%s %s %s", rec.Topic, key(rec.Key), text(rec.Value))
		if reason, ok := rec.Headers[processortest.HeaderReason]; ok {
			fmt.Fprintf(&b, " reason=%s", reason)
		} else {
			for _, h := range slices.Sorted(maps.Keys(rec.Headers)) {
				fmt.Fprintf(&b, " %s=%s", h, rec.Headers[h])
			}
		}
		b.WriteByte('\n')
	}
	return orNone(b.String())
}

func sorted[V any](values map[string]V, print func(V) string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(values)) {
		fmt.Fprintf(&b, "%s %s\n", key([]byte(k)), print(values[k]))
	}
	return orNone(b.String())
}

func orNone(s string) string {
	if s == "" {
		return "(none)\n"
	}
	return s
}

// key prints a key as it is sent, where it can.
func key(k []byte) string {
	if s := string(k); k != nil && s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == '\ufffd' }) {
		return s
	}
	return text(k)
}

// text prints a value: JSON as it is, all else quoted.
func text(v []byte) string {
	switch {
	case v == nil:
		return null
	case len(v) > 0 && strings.ContainsRune("{[-0123456789", rune(v[0])) && !strings.ContainsFunc(string(v), func(r rune) bool { return r < ' ' || r == '\ufffd' }):
		return string(v)
	}
	return fmt.Sprintf("%q", v)
}
