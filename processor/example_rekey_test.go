package processor_test

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// order is a line of a shop's log, which is keyed by shop, or by nothing.
type order struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

// Orders come by shop; what each customer has spent is wanted. HandleBy sends them through a topic of the application's own,
// keyed by customer.
func ExampleHandleBy() {
	app := processor.New("spending")
	spent := processor.NewState(app, "spent", codec.Int64())
	totals := processor.NewOutput(app, "totals", codec.Int64())
	byCustomer := func(o order) []byte { return []byte(o.Customer) }
	processor.HandleBy(app, "orders", codec.JSON[order](), byCustomer, func(c *processor.Context, o order) error {
		sum, _ := spent.Get(c)
		spent.Set(c, sum+o.Cents)
		totals.Emit(c, sum+o.Cents)
		return nil
	})

	d := processortest.New(nil, app)
	d.Send("orders", "shop 1", `{"customer":"ada","cents":500}`)
	d.Send("orders", "shop 2", `{"customer":"ada","cents":250}`)
	d.SendRecord(processortest.Record{Topic: "orders", Value: []byte(`{"customer":"bob","cents":100}`)})
	d.Send("orders", "shop 1", `{"customer":"","cents":1}`)
	d.Commit()
	ada, _ := processortest.StateValue(d, "spent", "ada", codec.Int64())
	fmt.Println(processortest.Values(d, "totals", codec.Int64()), "ada:", ada)
	fmt.Println(d.DeadLetters()[0].Headers["penstock.error.reason"])
	// Output:
	// [500 750 100] ada: 750
	// empty-key
}
