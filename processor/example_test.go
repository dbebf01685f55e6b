package processor_test

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// counter counts the visits of each page, and rings a bell at every hundredth.
func counter() *processor.App {
	app := processor.New("page-visits")
	count := processor.NewState(app, "count", codec.Int64())
	bell := processor.NewOutput(app, "bells", codec.Text())

	processor.Handle(app, "visits", codec.Text(), func(c *processor.Context, visitor string) error {
		if visitor == "" {
			return processor.Reject("no-visitor", nil)
		}
		n, _ := count.Get(c) // 0 for a new page
		n++
		count.Set(c, n)
		if n%100 == 0 {
			bell.Emit(c, fmt.Sprintf("visit %d by %s", n, visitor))
		}
		return nil
	})
	return app
}

// Run it with engine.Run(ctx, counter(), engine.Config{Brokers: []string{"localhost:9092"}}), and test it without a broker:
func Example() {
	d := processortest.New(nil, counter())
	for range 99 {
		d.Send("visits", "/home", "ada")
	}
	d.Commit()
	d.Send("visits", "/home", "bob")
	d.Crash() // the hundredth visit is handled again
	d.Commit()
	for _, r := range d.Output("bells") {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	// Output: /home: visit 100 by bob
}
