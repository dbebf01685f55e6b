package processor_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
	"github.com/stretchr/testify/require"
)

// step is a record that is sent, or time that passes, and then a commit.
type step struct {
	topic, key, value string
	after             time.Duration
}

// outcome is all that can be seen of an application from outside.
type outcome struct {
	Outputs map[string][]string
	States  map[string]map[string]string
	Letters int
}

// example is an application of this package's examples and an input for it.
var examples = map[string]struct {
	app             func() *processor.App
	outputs, states []string
	steps           []step
	want            map[string][]string
}{
	"window by idle time": {visits, []string{"visits-ended"}, []string{"clicks", "idle"}, []step{
		{topic: "clicks", key: "ada", value: "/"}, {topic: "clicks", key: "bob", value: "/"}, {after: 20 * time.Minute},
		{topic: "clicks", key: "ada", value: "/a"}, {after: 10 * time.Minute}, {after: 20 * time.Minute},
		{topic: "clicks", key: "ada", value: "/b"}, {after: time.Hour},
	}, map[string][]string{"visits-ended": {"bob=1 clicks", "ada=2 clicks", "ada=1 clicks"}}},
	"window by count": {parcels, []string{"parcels-packed"}, []string{"open"}, []step{
		{topic: "items", key: "a", value: "1"}, {topic: "items", key: "a", value: "2"}, {topic: "items", key: "b", value: "x"},
		{topic: "items", key: "a", value: "3"}, {topic: "items", key: "a", value: "4"},
	}, map[string][]string{"parcels-packed": {`a=["1","2","3"]`}}},
	"window by sum": {bills, []string{"bills-sent"}, []string{"open"}, []step{
		{topic: "calls", key: "ada", value: "12"}, {topic: "calls", key: "ada", value: "9.99"}, {topic: "calls", key: "ada", value: "0.01"},
		{topic: "calls", key: "ada", value: "9999999999999999999"}, {topic: "calls", key: "ada", value: "0.01"},
	}, map[string][]string{"bills-sent": {`ada={"calls":1,"total":12}`, `ada={"calls":2,"total":10.00}`}}},
	"deduplicate": {payments, []string{"payments-once"}, []string{"seen", "forget"}, []step{
		{topic: "payments", key: "1", value: "a"}, {topic: "payments", key: "1", value: "a"}, {topic: "payments", key: "2", value: "b"},
		{after: 25 * time.Hour}, {topic: "payments", key: "3", value: "c"}, {topic: "payments", key: "1", value: "a"},
	}, map[string][]string{"payments-once": {"1=a", "2=b", "3=c", "1=a"}}},
	"enrich": {orders, []string{"orders-named"}, []string{"customer", "waiting"}, []step{
		{topic: "orders", key: "c", value: `{"item":"pen"}`}, {topic: "customers", key: "c", value: `{"name":"Ada"}`},
		{topic: "orders", key: "c", value: `{"item":"ink"}`}, {topic: "customers", key: "c"}, {topic: "orders", key: "c", value: `{"item":"cap"}`},
	}, map[string][]string{"orders-named": {`c={"item":"pen","name":"Ada"}`, `c={"item":"ink","name":"Ada"}`}}},
	"enrich from a table": {sales, []string{"lines"}, []string{"taken"}, []step{
		{topic: "catalogue", key: "a", value: `{"name":"soap","cents":120}`}, {topic: "sales", key: "s", value: `{"article":"a","pieces":2}`},
		{topic: "sales", key: "t", value: `{"article":"b","pieces":1}`}, {topic: "catalogue", key: "a", value: `{"name":"soap","cents":130}`},
		{topic: "sales", key: "s", value: `{"article":"a","pieces":1}`}, {topic: "catalogue", key: "a"}, {topic: "sales", key: "s", value: `{"article":"a","pieces":1}`},
	}, map[string][]string{"lines": {`s={"name":"soap","cents":240}`, `s={"name":"soap","cents":130}`}}},
	"top n": {podium, []string{"podiums"}, []string{"best"}, []step{
		{topic: "scores", key: "go", value: `{"player":"a","points":5}`}, {topic: "scores", key: "go", value: `{"player":"b","points":7}`},
		{topic: "scores", key: "go", value: `{"player":"c","points":6}`}, {topic: "scores", key: "go", value: `{"player":"d","points":5}`},
		{topic: "scores", key: "go", value: `{"player":"a","points":9}`},
	}, map[string][]string{"podiums": {
		`go=[{"player":"a","points":5}]`, `go=[{"player":"b","points":7},{"player":"a","points":5}]`,
		`go=[{"player":"b","points":7},{"player":"c","points":6},{"player":"a","points":5}]`,
		`go=[{"player":"a","points":9},{"player":"b","points":7},{"player":"c","points":6}]`,
	}}},
}

// R1, R3: whatever happens to the process between a step and its commit, the outputs and the state are those of a quiet day.
func TestTheExamplesAreExactUnderCrashes(t *testing.T) {
	faults := map[string]func(*processortest.Driver){
		"abort":          (*processortest.Driver).Abort,
		"crash":          (*processortest.Driver).Crash,
		"flush, crash":   func(d *processortest.Driver) { d.Flush(); d.Crash() },
		"crash and wipe": (*processortest.Driver).CrashAndWipe,
	}
	for name, e := range examples {
		t.Run(name, func(t *testing.T) {
			run := func(fault func(*processortest.Driver), at int) outcome {
				d := processortest.New(t, e.app())
				for i, s := range e.steps {
					d.Advance(s.after)
					if s.topic != "" {
						r := processortest.Record{Topic: s.topic, Key: []byte(s.key)}
						if s.value != "" {
							r.Value = []byte(s.value)
						}
						d.SendRecord(r)
					}
					if i == at {
						fault(d)
					}
					d.Commit()
				}
				o := outcome{map[string][]string{}, map[string]map[string]string{}, len(d.DeadLetters())}
				for _, topic := range e.outputs {
					for _, r := range d.Output(topic) {
						o.Outputs[topic] = append(o.Outputs[topic], fmt.Sprintf("%s=%s", r.Key, r.Value))
					}
				}
				for _, state := range e.states {
					o.States[state] = d.State(state)
				}
				return o
			}
			quiet := run(nil, -1)
			require.Equal(t, e.want, quiet.Outputs)
			for fault, do := range faults {
				for i := range e.steps {
					require.Equal(t, quiet, run(do, i), "%s after step %d", fault, i)
				}
			}
		})
	}
}
