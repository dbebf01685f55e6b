package processor_test

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// Sale is a sale in a shop; the records are keyed by shop. Product is one of a catalogue that is keyed by article number.
type (
	Sale struct {
		Article string `json:"article"`
		Pieces  int64  `json:"pieces"`
	}
	Product struct {
		Name  string `json:"name"`
		Cents int64  `json:"cents"`
	}
	Line struct {
		Name  string `json:"name"`
		Cents int64  `json:"cents"`
	}
)

// sales puts name and price to each sale, and keeps what a shop has taken. The catalogue is keyed otherwise than the sales,
// and small: every process has all of it. A sale of an article that is not in it is a dead letter, to be replayed.
func sales() *processor.App {
	app := processor.New("sales")
	catalogue := processor.NewTable(app, "catalogue", codec.JSON[Product]())
	taken := processor.NewState(app, "taken", codec.Int64())
	lines := processor.NewOutput(app, "lines", codec.JSON[Line]())

	processor.Handle(app, "sales", codec.JSON[Sale](), func(c *processor.Context, sale Sale) error {
		product, ok := catalogue.Get(c, sale.Article)
		if !ok {
			return processor.Reject("no-product", fmt.Errorf("article %q is not in the catalogue", sale.Article))
		}
		line := Line{product.Name, product.Cents * sale.Pieces}
		sum, _ := taken.Get(c)
		taken.Set(c, sum+line.Cents)
		lines.Emit(c, line)
		return nil
	})
	return app
}

// An enrichment join with a table.
func ExampleNewTable() {
	d := processortest.New(nil, sales())
	d.Send("catalogue", "4711", `{"name":"soap","cents":120}`)
	d.Send("sales", "shop-1", `{"article":"4711","pieces":2}`)
	d.Send("sales", "shop-1", `{"article":"4712","pieces":1}`)
	d.Commit()
	d.Send("catalogue", "4711", `{"name":"soap","cents":130}`) // from now on
	d.Send("sales", "shop-2", `{"article":"4711","pieces":1}`)
	d.Commit()

	for _, r := range d.Output("lines") {
		fmt.Printf("%s %s\n", r.Key, r.Value)
	}
	fmt.Println(d.DeadLetters()[0].Headers[processortest.HeaderReason])
	// Output:
	// shop-1 {"name":"soap","cents":240}
	// shop-2 {"name":"soap","cents":130}
	// no-product
}
