package processortest_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
	"github.com/stretchr/testify/require"
)

// form is an application that counts in each of its states, and has a timer where it is asked for one.
func form(timer bool, inputs []string, states ...string) *processor.App {
	app := processor.New("app")
	out := processor.NewOutput(app, "out", codec.Int64())
	var alarm processor.Timer
	if timer {
		alarm = processor.NewTimer(app, "alarm", processor.WallClock, func(c *processor.Context) error {
			out.Emit(c, -1)
			return nil
		})
	}
	var counts []processor.State[int64]
	for _, s := range states {
		counts = append(counts, processor.NewState(app, s, codec.Int64()))
	}
	for _, in := range inputs {
		processor.Handle(app, in, codec.Text(), func(c *processor.Context, _ string) error {
			for _, count := range counts {
				n, _ := count.Get(c)
				count.Set(c, n+1)
				out.Emit(c, n+1)
			}
			if timer {
				alarm.Set(c, c.Now().Add(time.Minute))
			}
			return nil
		})
	}
	return app
}

func TestAnotherFormOfTheApplicationGoesOn(t *testing.T) {
	for name, flush := range map[string]func(*processortest.Driver){
		"from the store":     (*processortest.Driver).Flush,
		"from the changelog": func(*processortest.Driver) {},
	} {
		t.Run(name, func(t *testing.T) {
			d := processortest.New(t, form(false, []string{"in"}, "a"))
			take := func() (list []int64) {
				flush(d)
				for _, r := range d.Take("out") {
					n, err := codec.Int64().Decode(r.Value)
					require.NoError(t, err)
					list = append(list, n)
				}
				return list
			}
			d.Send("in", "k", "")
			d.Commit()
			require.Equal(t, []int64{1}, take())
			d.Send("in", "k", "") // not committed: handled by the other form
			d.Restart(form(true, []string{"in", "in2"}, "b", "a"))
			d.Commit()
			require.Equal(t, []int64{1, 2}, take())
			d.Send("in2", "k", "")
			d.Commit()
			require.Equal(t, []int64{2, 3}, take())
			d.Restart(form(true, []string{"in2"}, "a"))
			d.Advance(time.Minute)
			d.Send("in2", "k", "")
			d.Commit()
			require.Equal(t, []int64{-1, 4}, take())
			require.Panics(t, func() {
				e := processortest.New(nil, form(false, []string{"in"}, "a", "b"))
				e.Send("in", "k", "")
				e.Commit()
				e.Restart(form(false, []string{"in"}, "a"))
				e.Restart(form(false, []string{"in"}, "a", "b"))
			}, "values of an earlier time")
		})
	}
}
