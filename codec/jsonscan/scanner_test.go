package jsonscan_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/jsonscan"
)

type member struct{ name, raw, text string }

func scan(src []byte) (members []member, err error) {
	s := jsonscan.New(src)
	for s.Next() {
		members = append(members, member{string(s.Name()), string(s.Raw()), string(s.Text())})
		if s.Kind() != jsontext.Value(s.Raw()).Kind() {
			return nil, fmt.Errorf("kind %v of %s", s.Kind(), s.Raw())
		}
	}
	if s.Next() {
		return nil, fmt.Errorf("Next after the end")
	}
	return members, s.Err()
}

// model reads the same by the library's decoder.
func model(src []byte) (members []member, ok bool) {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	if !jsontext.Value(src).IsValid() || jsontext.Value(src).Kind() != '{' {
		return nil, false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(src))
	_, _ = dec.ReadToken()
	for dec.PeekKind() != '}' {
		name, _ := dec.ReadToken()
		m := member{name: name.String()}
		raw, _ := dec.ReadValue()
		m.raw = string(raw)
		if raw.Kind() == '"' {
			text, _ := jsontext.AppendUnquote(nil, raw)
			m.text = string(text)
		}
		members = append(members, m)
	}
	return members, true
}

func checkAgainstModel(t *testing.T, src []byte) {
	t.Helper()
	want, valid := model(src)
	got, err := scan(src)
	if !valid {
		require.Error(t, err, "%q", src)
		var e *codec.Error
		require.ErrorAs(t, err, &e, "%q", src)
		return
	}
	require.NoError(t, err, "%q", src)
	require.Equal(t, want, got, "%q", src)
}

func many(n int, last string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"m%d":%d,`, i, i)
	}
	return "{" + b.String() + last + "}"
}

var seeds = []string{
	`{}`, ` { } `, "\xef\xbb\xbf{}\r\n", `{"a":1}`, `{"a":1,}`, `{,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{'a':1}`, `{"a":1}}`, `{"a":1} {}`, `{"a":1`, `{`,
	``, ` `, `null`, `[]`, `1`, `"a"`, "\xef\xbb\xbf", "{}\xef\xbb\xbf", "\x00\x00\x00\x00\x07{}",
	`{"a":"é","b":"\u00e9","c":"\ud83d\ude00","d":"\ud800"}`, `{"\ud800":1}`, "{\"a\":\"\xff\"}", "{\"\xff\":1}", "{\"a\":\"\xed\xa0\x80\"}",
	`{"a":"x\"y\\z\/\b\f\n\r\t"}`, `{"a":"\x"}`, `{"a":"\u12"}`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", `{"a":"unterminated}`, `{"a":"\`,
	`{"a":true,"b":false,"c":null,"d":tru,"e":1}`, `{"a":True}`, `{"a":nul}`, `{"a":truex}`,
	`{"a":-0,"b":0.10,"c":1e3,"d":1E-2,"e":1.5e+10}`, `{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":5.}`, `{"a":1e}`, `{"a":-}`, `{"a":NaN}`, `{"a":0x10}`,
	`{"a":1,"a":1}`, `{"a":1,"A":1}`, `{"a":1,"\u0061":1}`, `{"a":{"b":[1,{"c":"}]"}]},"d":1}`, `{"a":{"b":1,"b":2}}`, `{"a":[1,]}`, `{"a":[}]}`, `{"a":{]}`,
	`{"a":["\ud800"]}`, `{"a":[` + "\"\xff\"" + `]}`, `{"a":{"x":"\"}"}}`, `{"a":[1 2]}`, `{"a" : 1 , "b" : [ ] }`, "{\"a\"\u00a0:1}", "{\"a\":1,\v\"b\":2}",
	many(7, `"m0":0`), many(8, `"x":0`), many(8, `"m0":0`), many(20, `"x":0`), many(20, `"m19":0`), many(20, `"m\u0035":0`), many(12, `"x":`),
	`{"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
	`{"sessionId":"session1","winAmount":100,"deposit":false}`,
}

func TestScannerAgreesWithTheLibrary(t *testing.T) {
	for _, src := range seeds {
		checkAgainstModel(t, []byte(src))
		for i := range min(len(src), 80) {
			checkAgainstModel(t, []byte(src[:i]))
			checkAgainstModel(t, []byte(src[:i]+`"`+src[i:]))
			checkAgainstModel(t, []byte(src[:i]+src[i+1:]))
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, src := range seeds {
		f.Add([]byte(src))
	}
	f.Fuzz(checkAgainstModel)
}

func TestFaultsHaveReasons(t *testing.T) {
	for src, reason := range map[string]string{
		`{"a":1,}`:              codec.ReasonJSON,
		`{"a":1} x`:             codec.ReasonJSON,
		``:                      codec.ReasonJSON,
		`[1]`:                   codec.ReasonWrongType,
		`null`:                  codec.ReasonWrongType,
		`{"a":1,"a":2}`:         codec.ReasonDuplicateName,
		`{"x":[{"a":1,"a":2}]}`: codec.ReasonDuplicateName,
		many(20, `"m3":1`):      codec.ReasonDuplicateName,
		"{\"a\":\"\xff\"}":      codec.ReasonUTF8,
		`{"a":"\udead"}`:        codec.ReasonUTF8,
		"\x00\x00\x00\x00\x07{": codec.ReasonSchemaFraming,
	} {
		_, err := scan([]byte(src))
		require.Equal(t, reason, codec.Reason(err), "%s: %v", src, err)
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	src := []byte(`{"sessionId":"sessi\u006fn1","winAmount":100,"deposit":false,"x":null}`)
	walk := func() {
		s := jsonscan.New(src)
		for s.Next() {
			_ = s.Raw()
		}
	}
	require.LessOrEqual(t, testing.AllocsPerRun(100, walk), 2.0, "an escape has memory of its own")
	src = bytes.ReplaceAll(src, []byte(`\u006f`), []byte("é"))
	require.Zero(t, testing.AllocsPerRun(100, walk))
}

func BenchmarkScan(b *testing.B) {
	src := []byte(`{"sessionId":"session1","winAmount":100,"deposit":false}`)
	b.ReportAllocs()
	for b.Loop() {
		s := jsonscan.New(src)
		for s.Next() {
			_ = s.Raw()
		}
	}
}
