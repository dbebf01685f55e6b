package processor_test

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// parcels packs the items of each address, three to a parcel.
func parcels() *processor.App {
	const size = 3
	app := processor.New("parcels")
	open := processor.NewState(app, "open", codec.JSON[[]string]())
	packed := processor.NewOutput(app, "parcels-packed", codec.JSON[[]string]())

	processor.Handle(app, "items", codec.Text(), func(c *processor.Context, item string) error {
		items, _ := open.Get(c)
		items = append(items, item)
		if len(items) < size {
			open.Set(c, items)
			return nil
		}
		open.Remove(c)
		packed.Emit(c, items)
		return nil
	})
	return app
}

// A window that is closed by count.
func Example_windowByCount() {
	d := processortest.New(nil, parcels())
	for _, item := range []string{"pen", "ink", "paper", "lamp"} {
		d.Send("items", "1 Elm St", item)
	}
	d.Commit()

	fmt.Println(processortest.Values(d, "parcels-packed", codec.JSON[[]string]()))
	fmt.Println(d.State("open"))
	// Output:
	// [[pen ink paper]]
	// map[1 Elm St:["lamp"]]
}
