package processor_test

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// Bill is what a customer owes at once.
type Bill struct {
	Calls int             `json:"calls"`
	Total decimal.Decimal `json:"total"`
}

// bills adds up the calls of each customer. A bill is closed by the call that would bring it above the limit, and that
// call begins the next one.
func bills() *processor.App {
	limit := decimal.MustParse("10.00")
	app := processor.New("bills")
	open := processor.NewState(app, "open", codec.JSON[Bill]())
	sent := processor.NewOutput(app, "bills-sent", codec.JSON[Bill]())

	processor.Handle(app, "calls", codec.Decimal(), func(c *processor.Context, price decimal.Decimal) error {
		bill, _ := open.Get(c)
		total, err := bill.Total.Add(price)
		if err != nil {
			return processor.Reject("price-range", err) // a dead letter: the bill stays as it was
		}
		if bill.Calls > 0 && total.Cmp(limit) > 0 {
			sent.Emit(c, bill)
			bill, total = Bill{}, price
		}
		open.Set(c, Bill{bill.Calls + 1, total})
		return nil
	})
	return app
}

// A window that is closed by the limit of a sum.
func Example_windowBySum() {
	d := processortest.New(nil, bills())
	for _, price := range []string{"4.50", "5.50", "0.10"} {
		d.Send("calls", "ada", price)
	}
	d.Commit()

	for _, bill := range processortest.Values(d, "bills-sent", codec.JSON[Bill]()) {
		fmt.Println(bill.Calls, bill.Total)
	}
	fmt.Println(d.State("open"))
	// Output:
	// 2 10.00
	// map[ada:{"calls":1,"total":0.10}]
}
