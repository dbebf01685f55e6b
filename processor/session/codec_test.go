package session_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/codectest"
	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/processor/session"
)

func amount(s string) session.Amount { return decimal.MustParse(s) }

var transactions = []session.Transaction{
	{SessionID: "session1", WinAmount: amount("100")},
	{SessionID: "session1", WinAmount: amount("0.10"), Deposit: true},
	{SessionID: " <\"a,b\\\t> ", WinAmount: amount("-9999999999999999999")},
	{SessionID: "caf\u00e9 cafe\u0301 \U0001f600\u2028", WinAmount: amount("0.0000000000000000001")},
	{SessionID: "\ufeffmark\x00", WinAmount: amount("0")},
}

var updates = []session.SessionUpdate{
	{SessionID: "session1", CurrentBalance: amount("100")},
	{SessionID: "\"\\\n\x01é", CurrentBalance: amount("-0.10"), DepositCurrentBalance: true},
}

var sums = []session.SessionTrackingValue{{}, {TotalSum: amount("1000.31")}, {TotalSum: amount("-9999999999999999999")}}

func TestCodecsPassTheSuite(t *testing.T) {
	t.Run("TransactionJSON", func(t *testing.T) { codectest.Run(t, session.TransactionJSON(), transactions...) })
	t.Run("TransactionCSV", func(t *testing.T) { codectest.Run(t, session.TransactionCSV(), transactions...) })
	t.Run("SessionTrackingValueJSON", func(t *testing.T) { codectest.Run(t, session.SessionTrackingValueJSON(), sums...) })
	t.Run("SessionUpdateJSON", func(t *testing.T) { codectest.Run(t, session.SessionUpdateJSON(), updates...) })
}

func FuzzTransactionCSV(f *testing.F) { codectest.Fuzz(f, session.TransactionCSV(), transactions...) }
func FuzzTracking(f *testing.F)       { codectest.Fuzz(f, session.SessionTrackingValueJSON(), sums...) }
func FuzzUpdate(f *testing.F)         { codectest.Fuzz(f, session.SessionUpdateJSON(), updates...) }

func appended[T any](t *testing.T, c codec.Codec[T], v T) string {
	t.Helper()
	out, err := c.Append(nil, v)
	require.NoError(t, err)
	return string(out)
}

func TestShapesAreExact(t *testing.T) {
	tx := session.Transaction{SessionID: "session1", WinAmount: amount("100")}
	require.Equal(t, `{"sessionId":"session1","winAmount":100,"deposit":false}`, appended(t, session.TransactionJSON(), tx))
	require.Equal(t, `session1,100,false`, appended(t, session.TransactionCSV(), tx))
	require.Equal(t, `{"totalSum":100}`, appended(t, session.SessionTrackingValueJSON(), session.SessionTrackingValue{TotalSum: amount("100")}))
	require.Equal(t, `{"sessionId":"session1","currentBalance":100,"depositCurrentBalance":false}`,
		appended(t, session.SessionUpdateJSON(), session.SessionUpdate{SessionID: "session1", CurrentBalance: amount("100")}))
	require.Equal(t, `{"sessionId":"</é\u0001\n\"\\>","currentBalance":0.10,"depositCurrentBalance":true}`,
		appended(t, session.SessionUpdateJSON(), session.SessionUpdate{SessionID: "</é\x01\n\"\\>", CurrentBalance: amount("0.10"), DepositCurrentBalance: true}))
}

// F35: amounts are exact both ways, in plain notation.
func TestAmountsAddUpExactly(t *testing.T) {
	var sum session.Amount
	for _, step := range []struct{ win, balance string }{
		{"1e3", "1000"}, {"1E-2", "1000.01"}, {"0.1", "1000.11"}, {"0.2", "1000.31"}, {"-0", "1000.31"},
		{"12345678901234567890.123456789", ""}, {"0.10", "1000.41"},
	} {
		tx, err := session.TransactionJSON().Decode([]byte(`{"sessionId":"s","winAmount":` + step.win + `,"deposit":false}`))
		if step.balance == "" {
			require.Equal(t, codec.ReasonAmountRange, codec.Reason(err))
			continue
		}
		require.NoError(t, err)
		sum, err = sum.Add(tx.WinAmount)
		require.NoError(t, err)
		require.Equal(t, `{"totalSum":`+step.balance+`}`,
			appended(t, session.SessionTrackingValueJSON(), session.SessionTrackingValue{TotalSum: sum}))
	}
}

func TestTransactionJSONRefuses(t *testing.T) {
	for src, reason := range map[string]string{
		// F37: Python's numbers
		`{"sessionId":"s","winAmount":NaN}`:       codec.ReasonJSON,
		`{"sessionId":"s","winAmount":Infinity}`:  codec.ReasonJSON,
		`{"sessionId":"s","winAmount":-Infinity}`: codec.ReasonJSON,
		`{"sessionId":"s","winAmount":"NaN"}`:     codec.ReasonWrongType,
		// F40: a guessed deposit closes a session
		`{"sessionId":"s","winAmount":1,"deposit":"true"}`: codec.ReasonWrongType,
		`{"sessionId":"s","winAmount":1,"deposit":1}`:      codec.ReasonWrongType,
		`{"sessionId":"s","winAmount":1,"deposit":{}}`:     codec.ReasonWrongType,
		`{"sessionId":"s","winAmount":"12.50"}`:            codec.ReasonWrongType,

		`{"sessionId":"s","winAmount":null}`:                 codec.ReasonMissingField,
		`{"sessionId":"s","winAmount":true}`:                 codec.ReasonWrongType,
		`{"sessionId":"s","winAmount":01}`:                   codec.ReasonJSON,
		`{"sessionId":"s","winAmount":1e20}`:                 codec.ReasonAmountRange,
		`{"sessionId":"s","winAmount":1e-20}`:                codec.ReasonAmountRange,
		`{"sessionId":"s"}`:                                  codec.ReasonMissingField,
		`{"winAmount":1}`:                                    codec.ReasonMissingField,
		`{"sessionId":null,"winAmount":1}`:                   codec.ReasonMissingField,
		`{"sessionId":"","winAmount":1}`:                     codec.ReasonEmptyID,
		`{"sessionId":1,"winAmount":1}`:                      codec.ReasonWrongType,
		`{"SessionId":"s","winAmount":1}`:                    codec.ReasonMissingField,
		`{"sessionId":"s","winamount":1}`:                    codec.ReasonMissingField,
		`{"sessionId":"s","sessionId":"s","winAmount":1}`:    codec.ReasonDuplicateName,
		`{"sessionId":"s","winAmount":1,"winAmount":1}`:      codec.ReasonDuplicateName,
		`{"sessionId":"s","winAmount":1,"x":1,"x":1}`:        codec.ReasonDuplicateName,
		`{"sessionId":"s","winAmount":1,"win\u0041mount":1}`: codec.ReasonDuplicateName,
		`{"sessionId":"s","winAmount":1,"deposit":false}x`:   codec.ReasonJSON,
		`{"sessionId":"s","winAmount":1,"deposit":false}{}`:  codec.ReasonJSON,
		`{"sessionId":"s","winAmount":1,"deposit":false`:     codec.ReasonJSON,
		`{"sessionId":"s","winAmount":1,"deposit":false,}`:   codec.ReasonJSON,
		`{"sessionId":"s","winAmount":1,"deposit":falsey}`:   codec.ReasonJSON,
		"{\"sessionId\":\"\xff\",\"winAmount\":1}":           codec.ReasonUTF8,
		`{"sessionId":"\ud800","winAmount":1}`:               codec.ReasonUTF8,
		"{\"sessionId\":\"a\nb\",\"winAmount\":1}":           codec.ReasonJSON,
		`[]`:        codec.ReasonWrongType,
		`null`:      codec.ReasonWrongType,
		``:          codec.ReasonJSON,
		`s,1,false`: codec.ReasonJSON,
		"\x01\x00\x00\x00\x07{\"sessionId\":\"s\",\"winAmount\":1}": codec.ReasonJSON, // F47
	} {
		tx, err := session.TransactionJSON().Decode([]byte(src))
		require.Error(t, err, src)
		require.Equal(t, reason, codec.Reason(err), "%s: %v", src, err)
		require.Equal(t, session.Transaction{}, tx, src)
	}
}

func TestTransactionJSONReads(t *testing.T) {
	one := session.Transaction{SessionID: "s", WinAmount: amount("1")}
	closing := session.Transaction{SessionID: "s", WinAmount: amount("1"), Deposit: true}
	for src, want := range map[string]session.Transaction{
		`{"sessionId":"s","winAmount":1,"deposit":false}`:                                       one,
		`{"sessionId":"s","winAmount":1,"deposit":true}`:                                        closing,
		`{"sessionId":"s","winAmount":1,"deposit":null}`:                                        one,
		`{"sessionId":"s","winAmount":1}`:                                                       one,
		`{"deposit":true,"winAmount":1,"sessionId":"s"}`:                                        closing,
		` { "sessionId" : "\u0073" , "winAmount" : 1 , "Deposit" : true , "x" : [ { } ] } `:     one,
		"\xef\xbb\xbf{\"sessionId\":\"s\",\"winAmount\":1,\"deposit\":true}\r\n":                closing,
		"{\"sessionId\":\"s\",\"winAmount\":1,\"deposit\":true}\n":                              closing,
		"{\"sessionId\":\" \\ufeff \",\"winAmount\":-0.00}":                                     {SessionID: " \ufeff ", WinAmount: amount("0.00")},
		`{"sessionId":"\ud83d\ude00\u0000","winAmount":1}`:                                      {SessionID: "\U0001f600\x00", WinAmount: amount("1")},
		`{"sessionId":"s","a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"winAmount":1}`: one,
	} {
		got, err := session.TransactionJSON().Decode([]byte(src))
		require.NoError(t, err, src)
		require.Equal(t, want, got, src)
	}
}

// F44: bytes are identity.
func TestIDsAreNotNormalised(t *testing.T) {
	for _, id := range []string{"caf\xc3\xa9", "cafe\xcc\x81", " s ", "S", "s"} {
		for _, c := range []codec.Codec[session.Transaction]{session.TransactionJSON(), session.TransactionCSV()} {
			tx, err := c.Decode([]byte(appended(t, c, session.Transaction{SessionID: id})))
			require.NoError(t, err)
			require.Equal(t, []byte(id), []byte(tx.SessionID))
		}
	}
	tx, err := session.TransactionCSV().Decode([]byte(" s ,1"))
	require.NoError(t, err)
	require.Equal(t, " s ", tx.SessionID, "not trimmed")
}

// F47: framing is named, and can be stripped.
func TestSchemaFramingIsNamedOrStripped(t *testing.T) {
	framing := "\x00\x00\x00\x00\x07"
	for c, value := range map[codec.Codec[session.Transaction]]string{
		session.TransactionJSON(): `{"sessionId":"s","winAmount":1,"deposit":false}`,
		session.TransactionCSV():  `s,1,false`,
	} {
		_, err := c.Decode([]byte(framing + value))
		require.Equal(t, codec.ReasonSchemaFraming, codec.Reason(err))
		require.ErrorContains(t, err, "schema id 7")
		for _, src := range []string{framing + value, value} {
			tx, err := codec.StripSchemaID(c).Decode([]byte(src))
			require.NoError(t, err)
			require.Equal(t, session.Transaction{SessionID: "s", WinAmount: amount("1")}, tx)
		}
	}
}

func TestTransactionCSVReads(t *testing.T) {
	tx := func(id, win string, deposit bool) session.Transaction {
		return session.Transaction{SessionID: id, WinAmount: amount(win), Deposit: deposit}
	}
	for line, want := range map[string]session.Transaction{
		`session1,100,false`:      tx("session1", "100", false),
		`s1,0.10`:                 tx("s1", "0.10", false),
		`s1,10,`:                  tx("s1", "10", false),
		`s1,10,true`:              tx("s1", "10", true),
		`s1,10,TRUE`:              tx("s1", "10", true),
		`s1,10,True`:              tx("s1", "10", true),
		`s1,10,t`:                 tx("s1", "10", true),
		`s1,10,1`:                 tx("s1", "10", true),
		"s1,10, true\t":           tx("s1", "10", true),
		"s1,10,true\r\n":          tx("s1", "10", true),
		`s1,10,"true"`:            tx("s1", "10", true),
		`s1,10,yes`:               tx("s1", "10", false),
		`s1,10,tRUE`:              tx("s1", "10", false),
		`s1,10,2`:                 tx("s1", "10", false),
		`s1, 1e3 `:                tx("s1", "1000", false),
		`s1,"10"`:                 tx("s1", "10", false),
		"\xef\xbb\xbfs1,10\n":     tx("s1", "10", false),
		`"a,b",10`:                tx("a,b", "10", false), // F42
		`"a""b",1`:                tx(`a"b`, "1", false),  // F42
		"\"\x00\x00\x00\x00a\",1": tx("\x00\x00\x00\x00a", "1", false),
	} {
		got, err := session.TransactionCSV().Decode([]byte(line))
		require.NoError(t, err, "%q", line)
		require.Equal(t, want, got, "%q", line)
	}
}

func TestTransactionCSVRefuses(t *testing.T) {
	for line, reason := range map[string]string{
		// F37
		`s,NaN`: codec.ReasonAmount, `s,inf`: codec.ReasonAmount, `s,0x10`: codec.ReasonAmount, `s,1_000`: codec.ReasonAmount,
		// F42
		`"s1,10,true`: codec.ReasonCSV, `s1,"1,000.50"`: codec.ReasonAmount, `s1;10;true`: codec.ReasonMissingField, `s1`: codec.ReasonMissingField,
		"\"s1,10,true\ns2,1,true\n": codec.ReasonCSV,

		``: codec.ReasonMissingField, "\n": codec.ReasonMissingField, `,10`: codec.ReasonEmptyID, `"",10`: codec.ReasonEmptyID,
		`s1,`: codec.ReasonAmount, `s1,,true`: codec.ReasonAmount, `s1,+1`: codec.ReasonAmount, `s1,.5`: codec.ReasonAmount, `s1,$5`: codec.ReasonAmount,
		`s1,1e20`: codec.ReasonAmountRange, `s1,10,true,x`: codec.ReasonCSV, `s1,10,true,`: codec.ReasonCSV, `s1, "10"`: codec.ReasonCSV,
		"s\xff,1": codec.ReasonUTF8, "s\xed\xa0\x80,1": codec.ReasonUTF8,
	} {
		tx, err := session.TransactionCSV().Decode([]byte(line))
		require.Error(t, err, "%q", line)
		require.Equal(t, reason, codec.Reason(err), "%q: %v", line, err)
		require.Equal(t, session.Transaction{}, tx, "%q", line)
	}
}

func TestUpdateAndTrackingValueAreStrict(t *testing.T) {
	for src, reason := range map[string]string{
		`{"sessionId":"s","currentBalance":1}`:                                codec.ReasonMissingField,
		`{"sessionId":"s","currentBalance":1,"depositCurrentBalance":null}`:   codec.ReasonMissingField,
		`{"sessionId":"s","currentBalance":"1","depositCurrentBalance":true}`: codec.ReasonWrongType,
		`{"currentBalance":1,"depositCurrentBalance":true}`:                   codec.ReasonMissingField,
	} {
		_, err := session.SessionUpdateJSON().Decode([]byte(src))
		require.Equal(t, reason, codec.Reason(err), "%s: %v", src, err)
	}
	for src, reason := range map[string]string{
		`{}`: codec.ReasonMissingField, `{"totalSum":"1"}`: codec.ReasonWrongType, `{"totalSum":1e99}`: codec.ReasonAmountRange,
		`{"totalSum":1}{}`: codec.ReasonJSON, `{"totalSum":1,"totalSum":1}`: codec.ReasonDuplicateName,
	} {
		_, err := session.SessionTrackingValueJSON().Decode([]byte(src))
		require.Equal(t, reason, codec.Reason(err), "%s: %v", src, err)
	}
}

func TestAppendRefusesWhatDecodeWould(t *testing.T) {
	for id, reason := range map[string]string{"": codec.ReasonEmptyID, "a\xff": codec.ReasonUTF8} {
		out, err := session.TransactionJSON().Append([]byte("keep"), session.Transaction{SessionID: id})
		require.Equal(t, reason, codec.Reason(err))
		require.Equal(t, "keep", string(out))
		out, err = session.TransactionCSV().Append([]byte("keep"), session.Transaction{SessionID: id})
		require.Equal(t, reason, codec.Reason(err))
		require.Equal(t, "keep", string(out))
		out, err = session.SessionUpdateJSON().Append([]byte("keep"), session.SessionUpdate{SessionID: id})
		require.Equal(t, reason, codec.Reason(err))
		require.Equal(t, "keep", string(out))
	}
	_, err := session.TransactionCSV().Append(nil, session.Transaction{SessionID: "a\nb"})
	require.Equal(t, codec.ReasonCSV, codec.Reason(err))
}
