package processor_test

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// visits counts the clicks of each user's visit, which ends when the user has been silent for half an hour, also when the
// whole stream is. With EventTime and c.Timestamp() in place of WallClock and c.Now() it would be the records' own time.
func visits() *processor.App {
	const silence = 30 * time.Minute
	app := processor.New("visits")
	clicks := processor.NewState(app, "clicks", codec.Int64())
	ended := processor.NewOutput(app, "visits-ended", codec.Text())

	idle := processor.NewTimer(app, "idle", processor.WallClock, func(c *processor.Context) error {
		n, _ := clicks.Get(c)
		clicks.Remove(c)
		ended.Emit(c, fmt.Sprintf("%d clicks", n))
		return nil
	})
	processor.Handle(app, "clicks", codec.Text(), func(c *processor.Context, page string) error {
		n, _ := clicks.Get(c) // 0 for a new visit
		clicks.Set(c, n+1)
		idle.Set(c, c.Now().Add(silence)) // in place of the deadline before
		return nil
	})
	return app
}

// A window that is closed by idle time.
func Example_windowByIdleTime() {
	d := processortest.New(nil, visits())
	d.Send("clicks", "ada", "/home")
	d.Advance(29 * time.Minute)
	d.Send("clicks", "ada", "/shop")
	d.Advance(31 * time.Minute)
	d.Send("clicks", "ada", "/home") // another visit
	d.Commit()

	for _, r := range d.Output("visits-ended") {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	// Output: ada: 2 clicks
}
