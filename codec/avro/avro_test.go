package avro_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/avro"
	"github.com/penstock/penstock/codec/codectest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const orderSchema = `{"type":"record","name":"Order","fields":[
	{"name":"id","type":"string"},
	{"name":"items","type":{"type":"array","items":"long"}},
	{"name":"note","type":["null","string"]},
	{"name":"tags","type":{"type":"map","values":"int"}},
	{"name":"paid","type":"boolean"},
	{"name":"raw","type":"bytes"},
	{"name":"next","type":["null","Order"]}]}`

type order struct {
	ID    string           `avro:"id"`
	Items []int64          `avro:"items"`
	Note  *string          `avro:"note"`
	Tags  map[string]int32 `avro:"tags"`
	Paid  bool             `avro:"paid"`
	Raw   []byte           `avro:"raw"`
	Next  *order           `avro:"next"`
}

func orders() []order {
	note := "é"
	empty := order{Items: []int64{}, Tags: map[string]int32{}, Raw: []byte{}}
	full := order{ID: "o-1", Items: []int64{1, -1, math.MaxInt64}, Note: &note, Tags: map[string]int32{"a": -7}, Paid: true, Raw: []byte{0, 0xff}, Next: &empty}
	return []order{empty, full}
}

func codecOf() codec.Codec[order] { return avro.Must(avro.New[order](orderSchema)) }

func TestRecordsPassTheSuite(t *testing.T) { codectest.Run(t, codecOf(), orders()...) }

// The library's own limit of a text is 1 MiB.
func TestALongTextIsRead(t *testing.T) {
	c := avro.Must(avro.New[string](`"string"`))
	raw, err := c.Append(nil, strings.Repeat("x", 3<<20))
	require.NoError(t, err)
	v, err := c.Decode(raw)
	require.NoError(t, err)
	require.Len(t, v, 3<<20)
}

// Maps of several entries are left out: their bytes have no order.
func FuzzRecords(f *testing.F) {
	codectest.Fuzz(f, avro.Must(avro.New[[]string](`{"type":"array","items":"string"}`)), []string{}, []string{"a", "é"})
}

// A few bytes that claim to be long cost nothing.
func TestALengthThatIsNotThereIsRefused(t *testing.T) {
	huge := binary.AppendVarint(nil, math.MaxInt64)
	for name, c := range map[string]codec.Codec[any]{
		"array":          avro.Must(avro.New[any](`{"type":"array","items":"long"}`)),
		"array of nulls": avro.Must(avro.New[any](`{"type":"array","items":"null"}`)),
		"map":            avro.Must(avro.New[any](`{"type":"map","values":"long"}`)),
		"string":         avro.Must(avro.New[any](`"string"`)),
		"bytes":          avro.Must(avro.New[any](`"bytes"`)),
	} {
		v, err := c.Decode(huge)
		require.Equal(t, avro.Reason, codec.Reason(err), name)
		require.Nil(t, v, name)
	}
	deep := append([]byte{}, strings.Repeat("\x02", 1_000_000)...)
	_, err := avro.Must(avro.New[any](`{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}`)).Decode(deep)
	require.ErrorContains(t, err, "recursion limit")
}

// Items without bytes cost nothing either, however many there are said to be; what is no value of its type is refused.
func TestBytesThatAreNoValueAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		schema string
		raw    []byte
	}{
		"too many nulls":       {`{"type":"array","items":"null"}`, append(binary.AppendVarint(nil, 1<<28), 0)},
		"in several blocks":    {`{"type":"array","items":"null"}`, append(bytes.Repeat(binary.AppendVarint(nil, 1<<20), 1000), 0)},
		"int":                  {`"int"`, binary.AppendVarint(nil, math.MaxInt32+1)},
		"branch":               {`["null","string"]`, []byte{6}},
		"symbol":               {`{"type":"enum","name":"E","symbols":["A"]}`, []byte{2}},
		"nothing":              {`"long"`, nil},
		"bytes that follow":    {`"long"`, []byte{2, 2}},
		"a varint without end": {`"long"`, bytes.Repeat([]byte{0xff}, 11)},
	} {
		began := time.Now()
		v, err := avro.Must(avro.New[any](c.schema)).Decode(c.raw)
		assert.Equal(t, avro.Reason, codec.Reason(err), "%s: %v", name, v)
		require.Less(t, time.Since(began), time.Second, name)
	}
}

func TestAnOlderSchemaIsResolved(t *testing.T) {
	const v1 = `{"type":"record","name":"O","fields":[{"name":"id","type":"string"},{"name":"gone","type":"long"}]}`
	const v2 = `{"type":"record","name":"O","fields":[{"name":"id","type":"string"},{"name":"added","type":"string","default":"none"}]}`
	type o1 struct {
		ID   string `avro:"id"`
		Gone int64  `avro:"gone"`
	}
	type o2 struct {
		ID    string `avro:"id"`
		Added string `avro:"added"`
	}
	old, err := avro.Must(avro.New[o1](v1)).Append(nil, o1{"a", 5})
	require.NoError(t, err)
	c, err := avro.Resolve[o2](v2, v1)
	require.NoError(t, err)
	v, err := c.Decode(old)
	require.NoError(t, err)
	require.Equal(t, o2{"a", "none"}, v)
	_, err = avro.Resolve[o2](v2, `"string"`)
	require.ErrorContains(t, err, "resolve schema")
	_, err = avro.New[o1](`{"type":"recor`)
	require.ErrorContains(t, err, "parse schema")
}

func TestAValueThatDoesNotFitIsRefused(t *testing.T) {
	out, err := avro.Must(avro.New[any](`"string"`)).Append([]byte("keep"), 5)
	require.Equal(t, avro.Reason, codec.Reason(err))
	require.Equal(t, "keep", string(out))
}

func ExampleNew() {
	type Point struct {
		X int64 `avro:"x"`
		Y int64 `avro:"y"`
	}
	points, err := avro.New[Point](`{"type":"record","name":"Point","fields":[{"name":"x","type":"long"},{"name":"y","type":"long"}]}`)
	if err != nil {
		panic(err)
	}
	raw, _ := points.Append(nil, Point{1, -1})
	p, _ := points.Decode(raw)
	fmt.Println(raw, p)
	// Output: [2 1] {1 -1}
}
