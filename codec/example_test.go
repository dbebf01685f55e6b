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

// A codec of one's own has two methods; codectest.Run checks that it keeps the contract.
func ExampleCodec() {
	c := csvPoint{}
	raw, _ := c.Append([]byte("at "), point{3, 4})
	fmt.Println(string(raw))
	_, err := c.Decode([]byte("north"))
	fmt.Println(err)
	// Output:
	// at 3,4
	// csv: a point is X,Y: expected integer
}

type point struct{ X, Y int }

type csvPoint struct{}

func (csvPoint) Append(dst []byte, p point) ([]byte, error) {
	return fmt.Appendf(dst, "%d,%d", p.X, p.Y), nil
}

func (csvPoint) Decode(src []byte) (p point, err error) {
	if _, err := fmt.Sscanf(string(src), "%d,%d", &p.X, &p.Y); err != nil {
		return point{}, &codec.Error{Reason: codec.ReasonCSV, Err: fmt.Errorf("a point is X,Y: %w", err)}
	}
	return p, nil
}

func ExampleJSONLenient() {
	type Win struct {
		Session string `json:"session"`
	}
	careless := []byte(`{"Session":"s0","session":"s1"}`)

	win, _ := codec.JSON[Win]().Decode(careless)
	fmt.Println(win.Session)
	win, _ = codec.JSONLenient[Win]().Decode([]byte(`{"SESSION":"s1"}`))
	fmt.Println(win.Session)
	// Output:
	// s1
	// s1
}

func ExampleText() {
	_, err := codec.Text().Decode([]byte("caf\xe9")) // Latin-1
	fmt.Println(err)
	// Output: utf8: text is not valid UTF-8
}

func ExampleBytes() {
	v, _ := codec.Bytes().Decode([]byte{0, 0xff})
	fmt.Println(v)
	// Output: [0 255]
}

func ExampleInt64() {
	raw, _ := codec.Int64().Append(nil, 258)
	fmt.Println(raw)
	// Output: [0 0 0 0 0 0 1 2]
}

func ExampleInt32() {
	raw, _ := codec.Int32().Append(nil, 258)
	fmt.Println(raw)
	// Output: [0 0 1 2]
}

func ExampleDecimal() {
	price, _ := codec.Decimal().Decode([]byte("0.10"))
	sum, _ := price.Add(decimal.MustParse("0.20"))
	raw, _ := codec.Decimal().Append(nil, sum)
	fmt.Println(string(raw))
	// Output: 0.30
}

func ExampleReason() {
	_, err := codec.JSON[int]().Decode([]byte(`"seven"`))
	fmt.Println(codec.Reason(err))
	// Output: wrong-type
}

// A state was a plain integer; it is a struct from now on, and old values are still read.
func ExampleMigrate() {
	type Total struct {
		Sum   int64 `json:"sum"`
		Times int   `json:"times"`
	}
	old := codec.Convert(codec.Int64(),
		func(n int64) Total { return Total{Sum: n} },
		func(t Total) int64 { return t.Sum })
	totals := codec.Migrate(codec.JSON[Total](), old)

	t, _ := totals.Decode([]byte{0, 0, 0, 0, 0, 0, 0, 5})
	t.Times++
	raw, _ := totals.Append(nil, t)
	fmt.Println(string(raw))
	// Output: {"sum":5,"times":1}
}
