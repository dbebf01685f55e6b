package processor_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
	"github.com/stretchr/testify/require"
)

func TestFaultsOfTheDeclarationAreReportedTogether(t *testing.T) {
	app := processor.New("no spaces please")
	processor.NewState(app, "a", codec.Text())
	processor.NewState(app, "a", codec.Text())
	processor.NewOutput(app, "in", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(*processor.Context, string) error { return nil })
	processor.Handle(app, "in", codec.Text(), func(*processor.Context, string) error { return nil })
	processor.HandleDelete(app, "other", func(*processor.Context) error { return nil })
	err := app.Validate()
	for _, want := range []string{"no spaces please", `two states are named "a"`, `"in" is an input and an output`, `"in" has two handlers`, `"other" has a delete handler only`} {
		require.ErrorContains(t, err, want)
	}
}

func TestARejectedRecordsEffectsAreUndone(t *testing.T) {
	for name, fail := range map[string]func() error{
		"handler": func() error { return errors.New("no") },
		"panic":   func() error { panic("no") },
		"because": func() error { return processor.Reject("because", errors.New("no")) },
	} {
		t.Run(name, func(t *testing.T) {
			app := processor.New("app")
			seen := processor.NewState(app, "seen", codec.Text())
			out := processor.NewOutput(app, "out", codec.Text())
			processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
				last, _ := seen.Get(c)
				seen.Set(c, v)
				out.Emit(c, last+">"+v)
				if v == "bad" {
					seen.Remove(c)
					return fail()
				}
				return nil
			})
			d := processortest.New(t, app)
			d.Send("in", "k", "1")
			d.Send("in", "k", "bad")
			d.Send("in", "k", "2")
			d.Commit()
			require.Equal(t, []string{">1", "1>2"}, processortest.Values(d, "out", codec.Text()))
			require.Len(t, d.DeadLetters(), 1)
			require.Equal(t, name, d.DeadLetters()[0].Headers[processortest.HeaderReason])
			require.Equal(t, map[string]string{"k": "2"}, d.State("seen"))
		})
	}
}

func TestTombstonesReachTheDeleteHandler(t *testing.T) {
	app := processor.New("app")
	seen := processor.NewState(app, "seen", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		seen.Set(c, v)
		return nil
	})
	processor.HandleDelete(app, "in", func(c *processor.Context) error {
		seen.Remove(c)
		return nil
	})
	d := processortest.New(t, app)
	d.Send("in", "k", "1")
	d.Commit()
	d.SendRecord(processortest.Record{Topic: "in", Key: []byte("k")})
	d.Commit()
	require.Empty(t, d.State("seen"))
	require.Empty(t, d.DeadLetters())
}

func TestAContextUsedAfterItsHandlerPanics(t *testing.T) {
	var kept *processor.Context
	app := processor.New("app")
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, _ string) error {
		kept = c
		return nil
	})
	processortest.New(t, app).Send("in", "k", "1")
	for name, use := range map[string]func(){
		"Key":       func() { kept.Key() },
		"Now":       func() { kept.Now() },
		"Timestamp": func() { kept.Timestamp() },
		"Record":    func() { kept.Record() },
	} {
		require.PanicsWithValue(t, "processor: Context used after its handler returned", func() { sayPanic(use) }, name)
	}
}

// A Context of an earlier record is told too, inside a later handler, where other panics reject the record.
func TestAContextUsedInALaterHandlerPanics(t *testing.T) {
	app := processor.New("app")
	state := processor.NewState(app, "state", codec.Text())
	var first *processor.Context
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		if first == nil {
			first = c
		}
		state.Set(first, v)
		return nil
	})
	d := processortest.New(t, app)
	d.Send("in", "a", "1")
	require.PanicsWithValue(t, "processor: Context used after its handler returned", func() {
		sayPanic(func() { d.Send("in", "b", "2") })
	})
}

func TestAContextUsedByAnotherGoroutinePanics(t *testing.T) {
	app := processor.New("app")
	out := processor.NewOutput(app, "out", codec.Text())
	said := make(chan any, 1)
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { said <- recover() }()
			out.Emit(c, v)
		}()
		<-done
		return nil
	})
	processortest.New(t, app).Send("in", "k", "1")
	require.Equal(t, "processor: Context used by another goroutine than its handler's", fmt.Sprint(<-said))
}

// sayPanic lets a panic's text through.
func sayPanic(fn func()) {
	defer func() {
		if p := recover(); p != nil {
			panic(fmt.Sprint(p))
		}
	}()
	fn()
}

func TestADriverWithoutATestPanics(t *testing.T) {
	require.Panics(t, func() { processortest.New(nil, processor.New("app")) })
	require.Panics(t, func() { processortest.New(nil, counter()).Send("elsewhere", "k", "v") })
}

// A value without bytes is not a null one, wherever in a transaction it is emitted.
func TestAnEmptyValueIsNotNull(t *testing.T) {
	app := processor.New("app")
	out := processor.NewOutput(app, "out", codec.Bytes())
	processor.HandleBy(app, "in", codec.Bytes(), func([]byte) []byte { return []byte("k") }, func(c *processor.Context, v []byte) error {
		out.Emit(c, v)
		return nil
	})
	d := processortest.New(t, app)
	for range 2 {
		d.SendRecord(processortest.Record{Topic: "in", Value: []byte{}})
	}
	d.Commit()
	require.Empty(t, d.DeadLetters())
	require.Len(t, d.Output("out"), 2)
	for _, r := range d.Output("out") {
		require.NotNil(t, r.Value)
	}
}
