package processor_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
	"github.com/stretchr/testify/require"
)

// The Go code of MIGRATION.md, as it stands there.

type Event struct {
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`
}

type Info struct {
	Events int       `json:"events"`
	Start  time.Time `json:"start"`
}

type Update struct {
	Events  int     `json:"events"`
	Seconds float64 `json:"seconds"`
	Expired bool    `json:"expired"`
}

func Sessions() *processor.App {
	app := processor.New("sessions")
	state := processor.NewState(app, "info", codec.JSON[Info]())
	out := processor.NewOutput(app, "session-updates", codec.JSON[Update]())

	timeout := processor.NewTimer(app, "timeout", processor.WallClock, func(c *processor.Context) error {
		info, _ := state.Get(c)
		state.Remove(c)
		out.Emit(c, Update{info.Events, c.Timestamp().Sub(info.Start).Seconds(), true})
		return nil
	})
	processor.Handle(app, "events", codec.JSON[Event](), func(c *processor.Context, e Event) error {
		info, exists := state.Get(c)
		if !exists {
			info.Start = e.At
		}
		info.Events++
		state.Set(c, info)
		timeout.Set(c, c.Now().Add(10*time.Minute))
		out.Emit(c, Update{info.Events, e.At.Sub(info.Start).Seconds(), false})
		return nil
	})
	return app
}

func WordCount() *processor.App {
	app := processor.New("word-count")
	counts := processor.NewState(app, "counts", codec.Int64())
	out := processor.NewOutput(app, "word-counts", codec.Int64())

	var flush processor.Timer
	flush = processor.NewTimer(app, "flush", processor.EventTime, func(c *processor.Context) error {
		n, _ := counts.Get(c)
		out.Emit(c, n)
		flush.Set(c, c.Timestamp().Add(time.Second))
		return nil
	})
	processor.Handle(app, "words", codec.Text(), func(c *processor.Context, _ string) error {
		n, exists := counts.Get(c)
		counts.Set(c, n+1)
		if !exists {
			flush.Set(c, c.Timestamp().Add(time.Second))
		}
		return nil
	})
	return app
}

func Clicks() *processor.App {
	app := processor.New("clicks")
	clicks := processor.NewState(app, "table", codec.Int64())
	processor.Handle(app, "user-clicks", codec.Text(), func(c *processor.Context, _ string) error {
		n, _ := clicks.Get(c)
		clicks.Set(c, n+1)
		return nil
	})
	return app
}

func TestTheMigrationPagesCodeIsThis(t *testing.T) {
	page, err := os.ReadFile("MIGRATION.md")
	require.NoError(t, err)
	source, err := os.ReadFile("migration_test.go")
	require.NoError(t, err)
	blocks := strings.Split(string(page), "```go\n")[1:]
	require.Len(t, blocks, 4)
	for _, b := range blocks {
		code, _, _ := strings.Cut(b, "```")
		if strings.HasPrefix(code, "// goka") {
			continue // theirs
		}
		require.Contains(t, string(source), strings.TrimSpace(code))
	}
}

func TestTheMigrationPagesProgramsDoWhatTheySay(t *testing.T) {
	for name, fault := range map[string]func(*processortest.Driver){"quiet": func(*processortest.Driver) {}, "crash": (*processortest.Driver).Crash, "wipe": (*processortest.Driver).CrashAndWipe} {
		t.Run(name, func(t *testing.T) {
			d := processortest.New(t, Sessions())
			d.Send("events", "ada", `{"kind":"a","at":"2024-01-01T00:00:00Z"}`)
			d.Send("events", "ada", `{"kind":"a","at":"2024-01-01T00:01:00Z"}`)
			fault(d)
			d.Commit()
			d.Advance(time.Hour)
			fault(d)
			d.Commit()
			require.Equal(t, []Update{{1, 0, false}, {2, 60, false}, {2, 600, true}}, processortest.Values(d, "session-updates", codec.JSON[Update]()))
			require.Empty(t, d.State("info"))

			w := processortest.New(t, WordCount())
			at := d.Now()
			for i := range 4 {
				w.SendRecord(processortest.Record{Topic: "words", Key: []byte("pen"), Value: []byte("pen"), Timestamp: at.Add(time.Duration(i) * 400 * time.Millisecond)})
				fault(w)
				w.Commit()
			}
			require.Equal(t, []int64{3}, processortest.Values(w, "word-counts", codec.Int64()))

			c := processortest.New(t, Clicks())
			for range 3 {
				c.Send("user-clicks", "ada", "click")
			}
			fault(c)
			c.Commit()
			n, _ := processortest.StateValue(c, "table", "ada", codec.Int64())
			require.Equal(t, "3", fmt.Sprint(n))
		})
	}
}
