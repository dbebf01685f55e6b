package codec_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/codectest"
	"github.com/penstock/penstock/codec/decimal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type order struct {
	ID    string          `json:"id"`
	Price decimal.Decimal `json:"price"`
	Tags  map[string]int  `json:"tags,omitempty"`
	Next  *order          `json:"next,omitempty"`
}

var orders = []order{
	{},
	{ID: "o-1", Price: decimal.MustParse("0.10"), Tags: map[string]int{"b": 1, "a": 2, "c": 3}},
	{ID: "<é & \"\\\u2028\x00>", Price: decimal.MustParse("-9999999999999999999"), Next: &order{ID: "x"}},
}

var amounts = []decimal.Decimal{{}, decimal.MustParse("0.10"), decimal.MustParse("-9999999999999999999"), decimal.MustParse("0.0000000000000000001")}

func TestEveryCodecPassesTheSuite(t *testing.T) {
	t.Run("JSON", func(t *testing.T) { codectest.Run(t, codec.JSON[order](), orders...) })
	t.Run("StripSchemaID", func(t *testing.T) { codectest.Run(t, codec.StripSchemaID(codec.JSON[order]()), orders...) })
	t.Run("Text", func(t *testing.T) { codectest.Run(t, codec.Text(), "", "a", " café\n", "cafe\u0301", "\ufeff") })
	t.Run("Bytes", func(t *testing.T) { codectest.Run(t, codec.Bytes(), []byte{}, []byte{0, 0xff, 1}) })
	t.Run("Migrate", func(t *testing.T) {
		codectest.Run(t, codec.Migrate(codec.JSON[order](), codec.JSONLenient[order]()), orders...)
	})
	t.Run("Convert", func(t *testing.T) { codectest.Run(t, sums(), total{}, total{1}, total{-7}) })
	t.Run("JSONLenient", func(t *testing.T) { codectest.Run(t, codec.JSONLenient[order](), orders[:2]...) })
	t.Run("Decimal", func(t *testing.T) { codectest.Run(t, codec.Decimal(), amounts...) })
	t.Run("Int32", func(t *testing.T) { codectest.Run(t, codec.Int32(), 0, 1, -1, math.MaxInt32, math.MinInt32) })
	t.Run("Int64", func(t *testing.T) { codectest.Run(t, codec.Int64(), 0, 1, -1, math.MaxInt64, math.MinInt64) })
}

func FuzzJSON(f *testing.F) { codectest.Fuzz(f, codec.JSON[order](), orders...) }
func FuzzText(f *testing.F) { codectest.Fuzz(f, codec.Text(), "", "é") }

type total struct{ Sum int64 }

// sums are totals that were plain integers once.
func sums() codec.Codec[total] {
	return codec.Convert(codec.Int64(), func(n int64) total { return total{n} }, func(t total) int64 { return t.Sum })
}

func TestMigrateReadsWhatOlderCodecsWrote(t *testing.T) {
	c := codec.Migrate(codec.JSON[total](), sums())
	old, err := sums().Append(nil, total{5})
	require.NoError(t, err)
	v, err := c.Decode(old)
	require.NoError(t, err)
	require.Equal(t, total{5}, v)
	raw, err := c.Append(nil, v)
	require.NoError(t, err)
	require.Equal(t, `{"Sum":5}`, string(raw))
	_, err = c.Decode([]byte("?"))
	require.Equal(t, codec.ReasonJSON, codec.Reason(err), "the present codec's")
}

func FuzzInt32(f *testing.F)       { codectest.Fuzz(f, codec.Int32(), 0, -1) }
func FuzzDecimal(f *testing.F)     { codectest.Fuzz(f, codec.Decimal(), amounts...) }
func FuzzJSONLenient(f *testing.F) { codectest.Fuzz(f, codec.JSONLenient[order](), orders[:2]...) }
func FuzzInt64(f *testing.F)       { codectest.Fuzz(f, codec.Int64(), 0, -1) }

func TestJSONSaysWhy(t *testing.T) {
	c := codec.JSON[order]()
	for src, reason := range map[string]string{
		``:                                codec.ReasonJSON,
		`{"id":"a"`:                       codec.ReasonJSON,
		`{"id":"a"} x`:                    codec.ReasonJSON,
		`{"id":"a"}{}`:                    codec.ReasonJSON,
		`{"price":NaN}`:                   codec.ReasonJSON,
		`{"price":01}`:                    codec.ReasonJSON,
		"{\"id\":\"\xff\"}":               codec.ReasonUTF8,
		`{"id":"\ud800"}`:                 codec.ReasonUTF8,
		`{"x":"\udc00\ud800"}`:            codec.ReasonUTF8,
		`{"id":"a","id":"a"}`:             codec.ReasonDuplicateName,
		`{"id":"a","\u0069d":"a"}`:        codec.ReasonDuplicateName,
		`{"x":{"a":1,"a":2}}`:             codec.ReasonDuplicateName,
		`{"id":1}`:                        codec.ReasonWrongType,
		`[]`:                              codec.ReasonWrongType,
		`{"price":"12.50"}`:               codec.ReasonWrongType,
		`{"price":null}`:                  codec.ReasonWrongType,
		`{"price":1e19}`:                  codec.ReasonAmountRange,
		"\x00\x00\x00\x00\x07" + `{}`:     codec.ReasonSchemaFraming,
		"\x01\x00\x00\x00\x07" + `{}`:     codec.ReasonJSON,
		"\x00\x00\x00\x00\x07":            codec.ReasonJSON,
		"\xef\xbb\xbf\xef\xbb\xbf" + `{}`: codec.ReasonJSON,
	} {
		v, err := c.Decode([]byte(src))
		require.Error(t, err, src)
		require.Equal(t, reason, codec.Reason(err), "%s: %v", src, err)
		require.Equal(t, order{}, v, "nothing of a refused value is seen: %s", src)
	}
}

func TestLenientJSONForgivesTheProducer(t *testing.T) {
	for src, want := range map[string]order{
		`{"ID":"a","Price":0.10}`:       {ID: "a", Price: decimal.MustParse("0.10")},
		`{"id":"a","id":"b"}`:           {ID: "b"},
		"\xef\xbb\xbf{\"id\":\"\xff\"}": {ID: "\ufffd"},
	} {
		v, err := codec.JSONLenient[order]().Decode([]byte(src))
		require.NoError(t, err, src)
		require.Equal(t, want, v, src)
	}
	for src, reason := range map[string]string{
		``:                            codec.ReasonJSON,
		`{"id":"a"} x`:                codec.ReasonJSON,
		`{"id":1}`:                    codec.ReasonWrongType,
		`{"price":1e19}`:              codec.ReasonAmountRange,
		"\x00\x00\x00\x00\x07" + `{}`: codec.ReasonSchemaFraming,
	} {
		v, err := codec.JSONLenient[order]().Decode([]byte(src))
		require.Equal(t, reason, codec.Reason(err), "%s: %v", src, err)
		require.Equal(t, order{}, v, src)
	}
}

func TestADecimalIsAnExactNumber(t *testing.T) {
	v, err := codec.Decimal().Decode([]byte("1.50e1"))
	require.NoError(t, err)
	require.Equal(t, "15.0", v.String())
	for src, reason := range map[string]string{"": codec.ReasonAmount, "1,5": codec.ReasonAmount, " 1": codec.ReasonAmount, "1e99": codec.ReasonAmountRange} {
		_, err := codec.Decimal().Decode([]byte(src))
		require.Equal(t, reason, codec.Reason(err), "%q", src)
	}
}

func TestJSONIgnoresWhatIsNotData(t *testing.T) {
	for _, src := range []string{
		`{"id":"a"}`, "{\"id\":\"a\"}\r\n", "\xef\xbb\xbf{\"id\":\"a\"}\n", ` { "id" : "a" } `, `{"id":"a","ID":"b","other":[{"x":null}]}`,
	} {
		v, err := codec.JSON[order]().Decode([]byte(src))
		require.NoError(t, err, src)
		require.Equal(t, order{ID: "a"}, v, src)
	}
}

func TestAppendRefusesWhatHasNoBytes(t *testing.T) {
	out, err := codec.JSON[string]().Append([]byte("keep"), "\xff")
	require.Error(t, err)
	require.Equal(t, "keep", string(out))
	out, err = codec.Text().Append([]byte("keep"), "\xff")
	require.Equal(t, codec.ReasonUTF8, codec.Reason(err))
	require.Equal(t, "keep", string(out))
	out, err = codec.JSON[float64]().Append([]byte("keep"), math.NaN())
	require.Error(t, err)
	require.Equal(t, "keep", string(out))
}

func TestReasonIsFoundInAChain(t *testing.T) {
	inner := errors.New("inner")
	err := fmt.Errorf("record 7: %w", &codec.Error{Reason: codec.ReasonCSV, Err: inner})
	require.Equal(t, codec.ReasonCSV, codec.Reason(err))
	require.ErrorIs(t, err, inner)
	require.Equal(t, codec.ReasonDecode, codec.Reason(inner))
	require.Equal(t, "record 7: csv: inner", err.Error())
}

func TestInt64IsAKafkaLong(t *testing.T) {
	out, err := codec.Int64().Append(nil, -2)
	require.NoError(t, err)
	require.Equal(t, "\xff\xff\xff\xff\xff\xff\xff\xfe", string(out))
	_, err = codec.Int64().Decode([]byte("1234567"))
	require.Equal(t, codec.ReasonSize, codec.Reason(err))
}

func TestSchemaFramingIsNamedOrStripped(t *testing.T) {
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, 7), `{"id":"a"}`...)
	_, err := codec.JSON[order]().Decode(framed)
	require.ErrorContains(t, err, "schema id 7")
	v, err := codec.StripSchemaID(codec.JSON[order]()).Decode(framed)
	require.NoError(t, err)
	require.Equal(t, order{ID: "a"}, v)
	framed[0] = 1
	_, err = codec.StripSchemaID(codec.JSON[order]()).Decode(framed)
	require.Equal(t, codec.ReasonJSON, codec.Reason(err))
}
