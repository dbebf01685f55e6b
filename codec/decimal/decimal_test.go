package decimal_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/codec/decimal"
)

func TestParseKeepsScaleAndPrintsPlain(t *testing.T) {
	for in, want := range map[string]string{
		"0": "0", "-0": "0", "-0.00": "0.00", "0e5": "0", "0E-2": "0.00", "0e-99": "0.0000000000000000000", "0e999999999999999999999": "0",
		"100": "100", "0.10": "0.10", "-0.10": "-0.10", "1e3": "1000", "1E-2": "0.01", "1.50e1": "15.0", "1.5e+3": "1500", "12e-1": "1.2",
		"9999999999999999999":                       "9999999999999999999",
		"-9999999999999999999":                      "-9999999999999999999",
		"9223372036854775808":                       "9223372036854775808",
		"0.9999999999999999999":                     "0.9999999999999999999",
		"0.0000000000000000001":                     "0.0000000000000000001",
		"1e-19":                                     "0.0000000000000000001",
		"100e-21":                                   "0.0000000000000000001",
		"1.0000000000000000000000":                  "1.000000000000000000",
		"10000000000000000000e-1":                   "1000000000000000000",
		"0." + strings.Repeat("0", 5000) + "1e5001": "1",
		"1" + strings.Repeat("0", 5000) + "e-5000":  "1.000000000000000000",
		"1e18":                          "1000000000000000000",
		"12345678901234567.89":          "12345678901234567.89",
		"0." + strings.Repeat("0", 300): "0.0000000000000000000",
		"123e-00000000000000000000000000000000000000000000001": "12.3",
	} {
		d, err := decimal.Parse([]byte(in))
		require.NoError(t, err, in)
		require.Equal(t, want, d.String(), in)
		require.Equal(t, want, string(d.Append(nil)), in)
	}
}

func TestParseRefusesWhatIsNotAJSONNumber(t *testing.T) {
	for _, in := range []string{
		"", " ", "-", "+1", "--1", ".5", "5.", "01", "-01", "00", "1e", "1e+", "e1", "1e1.5", "1.e1", "1.5.5", "1 ", " 1", "1_000", "1,000.50",
		"0x10", "NaN", "nan", "Infinity", "-Infinity", "inf", `"1"`, "null", "1f", "１", "1\x00", "1e-", "1ee1", "1E+-1", "-.5",
	} {
		_, err := decimal.Parse([]byte(in))
		require.ErrorIs(t, err, decimal.ErrSyntax, in)
	}
}

func TestParseRefusesWhatItCannotHold(t *testing.T) {
	for _, in := range []string{
		"10000000000000000000", "1e19", "-1e19", "1e999999999", "1e99999999999999999999999999", "1e-20", "1e-99999999999999999999999999",
		"12345678901234567890.123456789", "1234567890123456789.5", "99999999999999999.995e1000", "0.12345678901234567890123",
		"1" + strings.Repeat("0", 100_000), "0." + strings.Repeat("0", 100_000) + "1",
	} {
		_, err := decimal.Parse([]byte(in))
		require.ErrorIs(t, err, decimal.ErrRange, in)
		require.Less(t, len(err.Error()), 200, "a long number does not make a long message")
	}
}

func TestAddIsExactOrRefused(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"0.1", "0.20", "0.30"},
		{"0.1", "-0.1", "0.0"},
		{"-1", "0.5", "-0.5"},
		{"99999999999999999.99", "0.005", ""}, // 20 digits
		{"9999999999999999999", "1", ""},
		{"9999999999999999999", "0.0", "9999999999999999999"},
		{"999999999999999999.5", "999999999999999999.5", "1999999999999999999"},
		{"9999999999999999999", "-0.10", ""},
		{"9999999999999999999", "-9999999999999999999", "0"},
		{"9999999999999999999", "-0.0000000000000000000", "9999999999999999999"},
		{"1", "0.0000000000000000001", ""},
		{"-1", "0.0000000000000000001", "-0.9999999999999999999"},
	} {
		got, err := decimal.MustParse(c.a).Add(decimal.MustParse(c.b))
		if c.want == "" {
			require.ErrorIs(t, err, decimal.ErrRange, "%s + %s", c.a, c.b)
			require.Equal(t, decimal.Decimal{}, got)
			continue
		}
		require.NoError(t, err, "%s + %s", c.a, c.b)
		require.Equal(t, c.want, got.String(), "%s + %s", c.a, c.b)
	}
}

func TestZeroValueIsZero(t *testing.T) {
	var d decimal.Decimal
	require.Equal(t, "0", d.String())
	require.True(t, d.IsZero())
	require.Zero(t, d.Cmp(decimal.MustParse("-0.00")))
}

func TestJSONIsANumberBothWays(t *testing.T) {
	type value struct{ A, B decimal.Decimal }
	in := value{A: decimal.MustParse("0.10"), B: decimal.MustParse("-9999999999999999999")}
	const want = `{"A":0.10,"B":-9999999999999999999}`
	for name, codec := range map[string]struct {
		marshal   func(any) ([]byte, error)
		unmarshal func([]byte, any) error
	}{
		"standard": {json.Marshal, json.Unmarshal},
		"v2": {
			func(v any) ([]byte, error) { return jsonv2.Marshal(v) },
			func(b []byte, v any) error { return jsonv2.Unmarshal(b, v) },
		},
	} {
		out, err := codec.marshal(in)
		require.NoError(t, err, name)
		require.Equal(t, want, string(out), name)
		var back value
		require.NoError(t, codec.unmarshal(out, &back), name)
		require.Equal(t, in, back, name)
		for _, bad := range []string{`{"A":"1"}`, `{"A":null}`, `{"A":true}`, `{"A":[1]}`, `{"A":1e99}`, `{"A":{}}`} {
			require.Error(t, codec.unmarshal([]byte(bad), &back), "%s %s", name, bad)
		}
	}
}

// fits is the documented range, said by big numbers: value * 10^scale is whole and below 10^19 for a scale of 0 to 19.
func fits(r *big.Rat) bool {
	for scale := range int64(decimal.Digits + 1) {
		c := new(big.Rat).Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(scale), nil)))
		if c.IsInt() && len(new(big.Int).Abs(c.Num()).String()) <= decimal.Digits {
			return true
		}
	}
	return false
}

func rat(t *rapid.T, s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		t.Fatalf("big.Rat does not read %q", s)
	}
	return r
}

// numbers are texts of JSON's grammar, many of them around 19 digits and with zeros at either end.
func numbers() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,4})(\.[0-9]{1,4})?`),
		rapid.StringMatching(`-?(0|[1-9][0-9]{14,20})(\.[09]{1,4})?([eE][+-]?[0-9]{1,2})?`),
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,3})\.[0-9]{12,22}([eE][+-]?[0-9]{1,2})?`),
		rapid.StringMatching(`-?[1-9]0{10,25}(\.0{1,10})?([eE]-?[0-3][0-9])?`),
		rapid.StringMatching(`-?9{0,18}[0-9](\.9{0,18}[05])?`).Filter(func(s string) bool {
			d := strings.TrimPrefix(s, "-")
			return d[0] != '0' || len(d) == 1 || d[1] == '.'
		}),
	)
}

func TestParseAgreesWithRationals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := numbers().Draw(t, "text")
		want := rat(t, text)
		got, err := decimal.Parse([]byte(text))
		if !fits(want) {
			require.ErrorIs(t, err, decimal.ErrRange)
			return
		}
		require.NoError(t, err)
		printed := string(got.Append([]byte("x")))[1:]
		require.Zero(t, want.Cmp(rat(t, printed)), "%s printed as %s", text, printed)
		require.NotContains(t, strings.ToLower(printed), "e")
		require.False(t, want.Sign() == 0 && printed[0] == '-', printed)
		again, err := decimal.Parse([]byte(printed))
		require.NoError(t, err)
		require.Equal(t, got, again, "round trip of %s", printed)
	})
}

func TestAddAndCmpAgreeWithRationals(t *testing.T) {
	inRange := numbers().Filter(func(s string) bool { _, err := decimal.Parse([]byte(s)); return err == nil })
	rapid.Check(t, func(t *rapid.T) {
		a, b := inRange.Draw(t, "a"), inRange.Draw(t, "b")
		x, y := decimal.MustParse(a), decimal.MustParse(b)
		require.Equal(t, rat(t, a).Cmp(rat(t, b)), x.Cmp(y))

		want := new(big.Rat).Add(rat(t, a), rat(t, b))
		sum, err := x.Add(y)
		if !fits(want) {
			require.ErrorIs(t, err, decimal.ErrRange)
			return
		}
		require.NoError(t, err)
		require.Zero(t, want.Cmp(rat(t, sum.String())), "%s + %s = %v", a, b, sum)
		other, err := y.Add(x)
		require.NoError(t, err)
		require.Equal(t, sum, other)
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0", "-0.10", "1e3", "12345678901234567890.123456789", "01", "1e-20", ".5", "1."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := decimal.Parse(src)
		if err != nil {
			return
		}
		var n json.Number
		require.NoError(t, json.Unmarshal(src, &n), "%q is a JSON number", src)
		again, err := decimal.Parse(d.Append(nil))
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}

func TestNothingIsAllocated(t *testing.T) {
	text, buf := []byte("-12345.67"), make([]byte, 0, 64)
	a, b := decimal.MustParse("98765432.10"), decimal.MustParse("0.125")
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = decimal.Parse(text) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = a.Add(b) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { buf = a.Append(buf[:0]) }))
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	text := []byte("12345.67")
	for b.Loop() {
		_, _ = decimal.Parse(text)
	}
}

func BenchmarkAdd(b *testing.B) {
	b.ReportAllocs()
	x, y := decimal.MustParse("12345.67"), decimal.MustParse("0.1")
	for b.Loop() {
		_, _ = x.Add(y)
	}
}

func BenchmarkAppend(b *testing.B) {
	b.ReportAllocs()
	x, buf := decimal.MustParse("12345.67"), make([]byte, 0, 64)
	for b.Loop() {
		buf = x.Append(buf[:0])
	}
}
