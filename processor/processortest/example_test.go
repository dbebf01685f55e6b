package processortest_test

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// counts counts the words of each line's key, and forgets a key that is silent for a minute.
func counts() *processor.App {
	app := processor.New("counts")
	count := processor.NewState(app, "count", codec.Int64())
	out := processor.NewOutput(app, "totals", codec.Int64())
	forget := processor.NewTimer(app, "forget", processor.WallClock, func(c *processor.Context) error {
		count.Remove(c)
		return nil
	})
	processor.Handle(app, "words", codec.Text(), func(c *processor.Context, word string) error {
		if word == "" {
			return processor.Reject("no-word", nil)
		}
		n, _ := count.Get(c)
		count.Set(c, n+1)
		forget.Set(c, c.Now().Add(time.Minute))
		out.Emit(c, n+1)
		return nil
	})
	return app
}

// In a test, give New the t.
func ExampleNew() {
	d := processortest.New(nil, counts())
	d.Send("words", "ada", "hello")
	fmt.Println(processortest.Values(d, "totals", codec.Int64())) // not committed
	d.Commit()
	fmt.Println(processortest.Values(d, "totals", codec.Int64()))
	// Output:
	// []
	// [1]
}

// After a crash the records of the open transaction are handled again, over state that is restored.
func ExampleDriver_CrashAndWipe() {
	d := processortest.New(nil, counts())
	d.Send("words", "ada", "hello")
	d.Commit()
	d.Send("words", "ada", "again")
	d.CrashAndWipe()
	d.Commit()
	fmt.Println(processortest.Values(d, "totals", codec.Int64()))
	// Output: [1 2]
}

func ExampleDriver_Abort() {
	d := processortest.New(nil, counts())
	d.Send("words", "ada", "hello")
	d.Abort()
	d.Commit()
	fmt.Println(processortest.Values(d, "totals", codec.Int64()))
	// Output: [1]
}

func ExampleDriver_Advance() {
	d := processortest.New(nil, counts())
	d.Send("words", "ada", "hello")
	fmt.Println(d.Timers("forget")["ada"].Format(time.TimeOnly))
	d.Advance(time.Minute)
	d.Commit()
	fmt.Println(d.State("count"))
	// Output:
	// 00:01:00
	// map[]
}

func ExampleDriver_Take() {
	d := processortest.New(nil, counts())
	for _, word := range []string{"a", "b"} {
		d.Send("words", "ada", word)
		d.Commit()
		fmt.Println(len(d.Take("totals")), len(d.Output("totals")))
	}
	// Output:
	// 1 1
	// 1 2
}

func ExampleDriver_DeadLetters() {
	d := processortest.New(nil, counts())
	d.Send("words", "ada", "")
	d.Commit()
	for _, letter := range d.DeadLetters() {
		fmt.Println(string(letter.Key), letter.Headers[processortest.HeaderReason])
	}
	// Output: ada no-word
}

func ExampleStateValue() {
	d := processortest.New(nil, counts())
	processortest.SendValue(d, "words", "ada", codec.Text(), "hello")
	d.Commit()
	fmt.Println(processortest.StateValue(d, "count", "ada", codec.Int64()))
	// Output: 1 true
}
