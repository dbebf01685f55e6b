package processor_test

import (
	"testing"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
	"github.com/penstock/penstock/processor/processortest/script"
	"github.com/stretchr/testify/require"
)

func TestTheSalesScripts(t *testing.T) { script.Run(t, "testdata/sales", sales) }

func TestFaultsOfTablesAreReportedTogether(t *testing.T) {
	app := processor.New("app")
	processor.NewTable(app, "a", codec.Text())
	processor.NewTable(app, "a", codec.Text())
	processor.NewTable(app, "no topic", codec.Text())
	processor.NewTable(app, "in", codec.Text())
	processor.NewTable(app, "out", codec.Text())
	processor.NewOutput(app, "out", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(*processor.Context, string) error { return nil })
	for _, want := range []string{`two tables copy topic "a"`, `"no topic" is not a topic name`, `"in" is a table and an input`, `"out" is a table and an input or an output`} {
		require.ErrorContains(t, app.Validate(), want)
	}
}

// A row that does not decode is no reason to enrich with nothing, nor to stop: the record waits as a dead letter, without
// effect, and others go on.
func TestARowThatDoesNotDecodeRejectsTheRecord(t *testing.T) {
	d := processortest.New(t, sales())
	d.Send("catalogue", "good", `{"name":"soap","cents":1}`)
	d.Send("catalogue", "bad", `{"name":`)
	d.Send("sales", "s", `{"article":"bad","pieces":1}`)
	d.Send("sales", "s", `{"article":"good","pieces":1}`)
	d.Commit()
	require.Len(t, d.DeadLetters(), 1)
	require.Equal(t, processor.ReasonTable, d.DeadLetters()[0].Headers[processortest.HeaderReason])
	require.Equal(t, []Line{{"soap", 1}}, processortest.Values(d, "lines", codec.JSON[Line]()))
}

// What the documentation says of exactly-once: each record takes effect once, by the rows that the last try saw.
func TestARecordThatIsHandledAgainSeesNewerRows(t *testing.T) {
	d := processortest.New(t, sales())
	d.Send("catalogue", "a", `{"name":"soap","cents":1}`)
	d.Send("sales", "s", `{"article":"a","pieces":1}`)
	d.Send("catalogue", "a", `{"name":"soap","cents":2}`)
	d.Crash()
	d.Commit()
	require.Equal(t, []Line{{"soap", 2}}, processortest.Values(d, "lines", codec.JSON[Line]()))
	require.Equal(t, map[string]string{"s": "\x00\x00\x00\x00\x00\x00\x00\x02"}, d.State("taken"))
}

// A table that the next form of the application has no more, and gets back, is the topic's still.
func TestATableIsAddedAndDropped(t *testing.T) {
	d := processortest.New(t, sales())
	d.Send("catalogue", "a", `{"name":"soap","cents":1}`)
	d.Commit()
	without := processor.New("sales")
	processor.NewState(without, "taken", codec.Int64())
	processor.Handle(without, "sales", codec.JSON[Sale](), func(*processor.Context, Sale) error { return nil })
	d.Restart(without)
	d.Restart(sales())
	d.Send("sales", "s", `{"article":"a","pieces":3}`)
	d.Commit()
	require.Equal(t, []Line{{"soap", 3}}, processortest.Values(d, "lines", codec.JSON[Line]()))
}
