package processor_test

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

func ExampleNew() {
	app := processor.New("greeter") // the consumer group, and the prefix of all that it makes on the cluster
	out := processor.NewOutput(app, "greetings", codec.Text())
	processor.Handle(app, "names", codec.Text(), func(c *processor.Context, name string) error {
		out.Emit(c, "hello "+name)
		return nil
	})

	d := processortest.New(nil, app)
	d.Send("names", "k", "ada")
	d.Commit()
	fmt.Println(processortest.Values(d, "greetings", codec.Text()))
	// Output: [hello ada]
}

// Faults of the declaration are collected; engine.Run and processortest.New report them.
func ExampleApp_Validate() {
	app := processor.New("app")
	processor.NewState(app, "total", codec.Int64())
	processor.NewState(app, "total", codec.Int64())
	fmt.Println(app.Validate())
	// Output:
	// application "app": two states are named "total"
	// no input: call Handle
}

func ExampleHandle() {
	app := processor.New("app")
	sum := processor.NewState(app, "sum", codec.Int64())
	processor.Handle(app, "numbers", codec.Int64(), func(c *processor.Context, n int64) error {
		total, _ := sum.Get(c) // of the record's key
		sum.Set(c, total+n)
		return nil
	})

	d := processortest.New(nil, app)
	processortest.SendValue(d, "numbers", "a", codec.Int64(), 3)
	processortest.SendValue(d, "numbers", "a", codec.Int64(), 4)
	d.Commit()
	fmt.Println(processortest.StateValue(d, "sum", "a", codec.Int64()))
	// Output: 7 true
}

// A null value is a deletion to whoever keeps its topic as a table.
func ExampleHandleDelete() {
	app := processor.New("app")
	email := processor.NewState(app, "email", codec.Text())
	processor.Handle(app, "users", codec.Text(), func(c *processor.Context, address string) error {
		email.Set(c, address)
		return nil
	})
	processor.HandleDelete(app, "users", func(c *processor.Context) error {
		email.Remove(c)
		return nil
	})

	d := processortest.New(nil, app)
	d.Send("users", "ada", "ada@example.com")
	d.SendRecord(processortest.Record{Topic: "users", Key: []byte("ada")})
	d.Commit()
	fmt.Println(d.State("email"))
	// Output: map[]
}

func ExampleState() {
	app := processor.New("app")
	last := processor.NewState(app, "last", codec.Text())
	processor.Handle(app, "doors", codec.Text(), func(c *processor.Context, now string) error {
		before, ok := last.Get(c)
		fmt.Printf("%s: %q %v -> %q\n", c.Key(), before, ok, now)
		if now == "sold" {
			last.Remove(c)
		} else {
			last.Set(c, now)
		}
		fmt.Println("exists:", last.Exists(c))
		return nil
	})

	d := processortest.New(nil, app)
	d.Send("doors", "front", "open")
	d.Send("doors", "front", "sold")
	// Output:
	// front: "" false -> "open"
	// exists: true
	// front: "open" true -> "sold"
	// exists: false
}

func ExampleOutput_Emit() {
	app := processor.New("app")
	byWord := processor.NewOutput(app, "words", codec.Int64())
	processor.Handle(app, "lines", codec.Text(), func(c *processor.Context, line string) error {
		for word := range strings.FieldsSeq(line) {
			byWord.Emit(c, 1, processor.Key(word), processor.Header("line", c.Key()))
		}
		return nil
	})

	d := processortest.New(nil, app)
	d.Send("lines", "7", "to be")
	d.Commit()
	for _, r := range d.Output("words") {
		fmt.Printf("%s from line %s\n", r.Key, r.Headers["line"])
	}
	// Output:
	// to from line 7
	// be from line 7
}

// Of the values of one key in one transaction, the last is enough where a reader wants the state and not its history.
func ExampleOutput_EmitLatest() {
	app := processor.New("app")
	balance := processor.NewOutput(app, "balances", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		balance.EmitLatest(c, v)
		return nil
	})

	d := processortest.New(nil, app)
	d.Send("in", "ada", "1")
	d.Send("in", "ada", "2")
	d.Commit()
	fmt.Println(processortest.Values(d, "balances", codec.Text()))
	// Output: [2]
}

// The reason is a short fixed word to count by; the error is for a person.
func ExampleReject() {
	app := processor.New("app")
	processor.Handle(app, "orders", codec.Int64(), func(c *processor.Context, pieces int64) error {
		if pieces <= 0 {
			return processor.Reject("no-pieces", errors.New("an order of nothing"))
		}
		return nil
	})

	d := processortest.New(nil, app)
	processortest.SendValue(d, "orders", "a", codec.Int64(), 0)
	d.Send("orders", "a", "seven") // does not decode: rejected without a call
	d.Commit()
	for _, letter := range d.DeadLetters() {
		fmt.Println(letter.Headers[processortest.HeaderReason])
	}
	// Output:
	// no-pieces
	// size
}

// A reminder that is sent an hour after the last word, unless somebody says stop.
func ExampleTimer() {
	app := processor.New("app")
	out := processor.NewOutput(app, "reminders", codec.Text())
	reminder := processor.NewTimer(app, "reminder", processor.WallClock, func(c *processor.Context) error {
		out.Emit(c, "it is "+c.Timestamp().UTC().Format(time.TimeOnly)) // the deadline
		return nil
	})
	processor.Handle(app, "words", codec.Text(), func(c *processor.Context, word string) error {
		if word == "stop" {
			reminder.Cancel(c)
			return nil
		}
		reminder.Set(c, c.Now().Add(time.Hour))
		return nil
	})

	d := processortest.New(nil, app)
	d.Send("words", "ada", "hello")
	d.Send("words", "bob", "hello")
	d.Send("words", "bob", "stop")
	d.Advance(2 * time.Hour)
	d.Commit()
	for _, r := range d.Output("reminders") {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	// Output: ada: it is 01:00:00
}

func ExampleContext_Record() {
	app := processor.New("app")
	processor.Handle(app, "in", codec.Bytes(), func(c *processor.Context, _ []byte) error {
		r := c.Record()
		trace, _ := r.Header("trace")
		fmt.Printf("%s/%d at %d, key %s, trace %s, %s\n", r.Topic, r.Partition, r.Offset, r.Key, trace, c.Timestamp().UTC().Format(time.DateOnly))
		return nil
	})

	processortest.New(nil, app).SendRecord(processortest.Record{Topic: "in", Key: []byte("k"), Value: []byte("v"),
		Headers: map[string]string{"trace": "42"}, Timestamp: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)})
	// Output: in/0 at 0, key k, trace 42, 2026-05-01
}
