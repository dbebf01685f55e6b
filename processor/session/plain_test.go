package session

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/codec/codectest"
)

// checkPlain compares the short way with the general one: where it answers, both answer alike.
func checkPlain(t *testing.T, src []byte) {
	t.Helper()
	if short, ok := plainTransaction(src); ok {
		general, err := scanTransaction(src)
		require.NoError(t, err, "%q", src)
		require.Equal(t, general, short, "%q", src)
	}
	if short, ok := plainTracking(src); ok {
		general, err := scanTracking(src)
		require.NoError(t, err, "%q", src)
		require.Equal(t, general, short, "%q", src)
	}
	codectest.CheckBytes(t, TransactionJSON(), src)
}

var plainSeeds = []string{
	`{"sessionId":"session1","winAmount":100,"deposit":false}`, `{"sessionId":"s","winAmount":-0.10,"deposit":true}`,
	`{"sessionId":"","winAmount":1,"deposit":true}`, `{"sessionId":"s","winAmount":,"deposit":true}`, `{"sessionId":"s","winAmount":1,"deposit":null}`,
	`{"sessionId":"é","winAmount":1,"deposit":true}`, `{"sessionId":"\n","winAmount":1,"deposit":true}`, `{"sessionId":"a\"b","winAmount":1,"deposit":true}`,
	`{"sessionId":"s","winAmount":1e3,"deposit":true}`, `{"sessionId":"s","winAmount":1,"x":2,"deposit":true}`, `{"sessionId":"s","winAmount":01,"deposit":true}`,
	`{"sessionId":"s","winAmount":1,"deposit":true}` + "\n", `{"sessionId":"s","winAmount":9999999999999999999,"deposit":true}`,
	`{"sessionId": "s", "winAmount": 1, "deposit": true}`,
	`{"totalSum":100}`, `{"totalSum":-0.0}`, `{"totalSum":1e3}`, `{"totalSum":}`, `{"totalSum":1}}`, `{"totalSum":"1"}`,
}

func TestPlainLayoutIsReadAsTheGeneralOne(t *testing.T) {
	_, ok := plainTransaction([]byte(plainSeeds[0]))
	require.True(t, ok)
	_, ok = plainTransaction([]byte(`{"sessionId": "session1", "winAmount": 100, "deposit": false}`))
	require.True(t, ok)
	_, ok = plainTracking([]byte(`{"totalSum":100}`))
	require.True(t, ok)
	for _, src := range plainSeeds {
		checkPlain(t, []byte(src))
		for i := range len(src) {
			for _, with := range []string{"", `"`, `\`, ",", "}", "0", "-", ".", " ", "\xff", "\x00", "é", strings.Repeat("9", 20)} {
				checkPlain(t, []byte(src[:i]+with+src[i:]))
				checkPlain(t, []byte(src[:i]+with+src[i+1:]))
			}
		}
	}
}

func FuzzTransactionJSON(f *testing.F) {
	for _, src := range plainSeeds {
		f.Add([]byte(src))
	}
	f.Fuzz(checkPlain)
}
