package csvline_test

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/csvline"
)

func split(line string) ([]string, error) {
	fields, err := csvline.Split(nil, []byte(line))
	var out []string
	for _, f := range fields {
		out = append(out, string(f))
	}
	return out, err
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"":                     {""},
		"a":                    {"a"},
		"a,b,c":                {"a", "b", "c"},
		"a,":                   {"a", ""},
		",":                    {"", ""},
		" a ,\tb ":             {" a ", "\tb "},
		"a,b\r\n":              {"a", "b"},
		"a,b\n":                {"a", "b"},
		"a,b\r":                {"a", "b"},
		"a\rb":                 {"a\rb"},
		"\xef\xbb\xbfa,b":      {"a", "b"},
		"a,\ufeffb":            {"a", "\ufeffb"},
		"\"\ufeffa\",b":        {"\ufeffa", "b"},
		`"a,b",10`:             {"a,b", "10"},
		`"a""b",1`:             {`a"b`, "1"},
		`""`:                   {""},
		`"",""`:                {"", ""},
		`""""`:                 {`"`},
		`"""a""",""",""","b"`:  {`"a"`, `","`, "b"},
		"caf\u00e9,cafe\u0301": {"caf\u00e9", "cafe\u0301"},
		"a\x00b":               {"a\x00b"},
	} {
		got, err := split(line)
		require.NoError(t, err, "%q", line)
		require.Equal(t, want, got, "%q", line)
	}
}

func TestSplitRefuses(t *testing.T) {
	for line, want := range map[string]error{
		`"s1,10,true`:        csvline.ErrUnterminatedQuote,
		`"s1,10,true` + "\n": csvline.ErrUnterminatedQuote,
		`a,"`:                csvline.ErrUnterminatedQuote,
		`"a""`:               csvline.ErrUnterminatedQuote,
		`a"b,1`:              csvline.ErrBareQuote,
		`a, "b"`:             csvline.ErrBareQuote,
		`"a"b,1`:             csvline.ErrTextAfterQuote,
		`"a" ,1`:             csvline.ErrTextAfterQuote,
		"a,b\nc,d":           csvline.ErrLineEnd,
		"\"a\nb\",c":         csvline.ErrLineEnd,
		"a\n\n":              csvline.ErrLineEnd,
		"a\xff,1":            csvline.ErrUTF8,
		"\"\xed\xa0\x80\"":   csvline.ErrUTF8,
	} {
		got, err := split(line)
		require.ErrorIs(t, err, want, "%q", line)
		require.Empty(t, got, "%q", line)
		reason := codec.ReasonCSV
		if want == csvline.ErrUTF8 {
			reason = codec.ReasonUTF8
		}
		require.Equal(t, reason, codec.Reason(err), "%q", line)
	}
}

func TestAppendQuotesOnlyWhereItMust(t *testing.T) {
	out, err := csvline.Append([]byte("x"), "a", "", "a b", " a", "a ", "a,b", `a"b`, "\x00", "é")
	require.NoError(t, err)
	require.Equal(t, `xa,,a b," a","a ","a,b","a""b","`+"\x00"+`",é`, string(out))
	for _, bad := range []string{"a\nb", "\xff"} {
		out, err = csvline.Append([]byte("x"), "a", bad)
		require.Error(t, err)
		require.Equal(t, "x", string(out))
	}
}

func TestWhatAppendWritesSplitReads(t *testing.T) {
	field := rapid.OneOf(
		rapid.StringMatching(`[ab," \r\t]{0,6}`),
		rapid.String().Filter(func(s string) bool { return !strings.Contains(s, "\n") }),
		rapid.StringMatching(`\x{feff}?[a"]{0,2}`),
	)
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.SliceOfN(field, 1, 5).Draw(t, "fields")
		line, err := csvline.Append(nil, fields...)
		require.NoError(t, err)
		end := rapid.SampledFrom([]string{"", "\n", "\r\n", "\r"}).Draw(t, "line end")
		got, err := split(string(line) + end)
		require.NoError(t, err)
		require.Equal(t, fields, got)
	})
}

// FuzzSplit compares with encoding/csv, which reads many lines and changes \r\n inside a record, so only lines
// without those are compared. It also passes over blank lines.
func FuzzSplit(f *testing.F) {
	for _, line := range []string{`a,b`, `"a,b",10`, `"a""b",1`, `"a"b`, `a"b`, `"`, `""`, `,,`, "\xef\xbb\xbfa", ` "a"`} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got, err := split(line)
		if err == nil {
			out, err := csvline.Append(nil, got...)
			require.NoError(t, err)
			again, err := split(string(out))
			require.NoError(t, err)
			require.Equal(t, got, again)
		}
		if strings.ContainsAny(line, "\r\n") || line == "" || codec.Reason(err) == codec.ReasonUTF8 {
			return
		}
		r := csv.NewReader(strings.NewReader(strings.TrimPrefix(line, "\xef\xbb\xbf")))
		want, wantErr := r.Read()
		if line == "\xef\xbb\xbf" {
			return
		}
		require.Equal(t, wantErr == nil, err == nil, "%q: encoding/csv says %v, Split %v", line, wantErr, err)
		if err == nil {
			require.Equal(t, want, got, "%q", line)
		}
	})
}

func TestSplitAllocatesNothing(t *testing.T) {
	line, space := []byte("session1,\"100\",false\r\n"), make([][]byte, 0, 4)
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = csvline.Split(space, line) }))
}
