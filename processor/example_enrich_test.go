package processor_test

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// Customer is the record of a customer, Order one of an order. Both topics are keyed by customer and have equally many
// partitions, so that one task sees all of a key.
type (
	Customer struct {
		Name string `json:"name"`
	}
	Order struct {
		Item string `json:"item"`
		Name string `json:"name,omitempty"` // of the customer: filled in here
	}
)

// orders puts the customer's name into each order. Orders that come before their customer wait for it.
func orders() *processor.App {
	app := processor.New("orders-named")
	customer := processor.NewState(app, "customer", codec.JSON[Customer]())
	waiting := processor.NewState(app, "waiting", codec.JSON[[]Order]())
	named := processor.NewOutput(app, "orders-named", codec.JSON[Order]())

	processor.Handle(app, "customers", codec.JSON[Customer](), func(c *processor.Context, now Customer) error {
		customer.Set(c, now)
		early, _ := waiting.Get(c)
		for _, order := range early {
			order.Name = now.Name
			named.Emit(c, order)
		}
		waiting.Remove(c)
		return nil
	})
	processor.HandleDelete(app, "customers", func(c *processor.Context) error {
		customer.Remove(c)
		return nil
	})
	processor.Handle(app, "orders", codec.JSON[Order](), func(c *processor.Context, order Order) error {
		known, ok := customer.Get(c)
		if !ok {
			early, _ := waiting.Get(c)
			waiting.Set(c, append(early, order))
			return nil
		}
		order.Name = known.Name
		named.Emit(c, order)
		return nil
	})
	return app
}

// A join of two topics on one key.
func Example_enrich() {
	d := processortest.New(nil, orders())
	d.Send("orders", "c1", `{"item":"pen"}`) // nobody knows c1 yet
	d.Send("customers", "c1", `{"name":"Ada"}`)
	d.Send("orders", "c1", `{"item":"ink"}`)
	d.Commit()

	for _, order := range processortest.Values(d, "orders-named", codec.JSON[Order]()) {
		fmt.Println(order.Name, order.Item)
	}
	// Output:
	// Ada pen
	// Ada ink
}
