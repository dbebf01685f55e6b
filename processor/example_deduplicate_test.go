package processor_test

import (
	"fmt"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// payments lets each payment through once, by its id, which is the key. An id is forgotten a day after it was first seen,
// by the records' own time: the same input has the same output whenever it is processed.
func payments() *processor.App {
	const memory = 24 * time.Hour
	app := processor.New("payments-once")
	seen := processor.NewState(app, "seen", codec.Bytes())
	once := processor.NewOutput(app, "payments-once", codec.Bytes())

	forget := processor.NewTimer(app, "forget", processor.EventTime, func(c *processor.Context) error {
		seen.Remove(c)
		return nil
	})
	processor.Handle(app, "payments", codec.Bytes(), func(c *processor.Context, payment []byte) error {
		if seen.Exists(c) {
			return nil
		}
		seen.Set(c, nil)
		forget.Set(c, c.Timestamp().Add(memory))
		once.Emit(c, payment)
		return nil
	})
	return app
}

// A filter of duplicates that forgets.
func Example_deduplicate() {
	d := processortest.New(nil, payments())
	d.Send("payments", "id-1", "5 for ada")
	d.Send("payments", "id-1", "5 for ada") // sent again by a nervous producer
	d.Send("payments", "id-2", "7 for bob")
	d.Advance(25 * time.Hour)
	d.Send("payments", "id-3", "1 for eve") // a day later: id-1 and id-2 are forgotten
	d.Commit()

	for _, r := range d.Output("payments-once") {
		fmt.Printf("%s: %s\n", r.Key, r.Value)
	}
	fmt.Println(len(d.State("seen")), "remembered")
	// Output:
	// id-1: 5 for ada
	// id-2: 7 for bob
	// id-3: 1 for eve
	// 1 remembered
}
