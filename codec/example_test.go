package codec_test

import (
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/decimal"
)

func ExampleJSON() {
	type Win struct {
		Session string          `json:"session"`
		Amount  decimal.Decimal `json:"amount"`
	}
	wins := codec.JSON[Win]()

	win, err := wins.Decode([]byte(`{"session":"s1","amount":0.10}`))
	fmt.Println(win.Session, win.Amount, err)

	_, err = wins.Decode([]byte(`{"session":"s1","amount":1e99}`))
	fmt.Println(codec.Reason(err))
	// Output:
	// s1 0.10 <nil>
	// amount-range
}

func ExampleStripSchemaID() {
	framed := []byte("\x00\x00\x00\x00\x07\"hello\"")

	_, err := codec.JSON[string]().Decode(framed)
	fmt.Println(err)

	text, _ := codec.StripSchemaID(codec.JSON[string]()).Decode(framed)
	fmt.Println(text)
	// Output:
	// schema-framing: value is behind Schema Registry framing with schema id 7; strip it to read the value
	// hello
}
