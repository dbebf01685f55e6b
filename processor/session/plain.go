package session

import (
	"bytes"
	"unicode/utf8"

	"github.com/penstock/penstock/codec/decimal"
)

// Most records are laid out exactly as the codecs of this package write them, or with a blank after each colon and
// comma, as Python does. The functions below read that layout in one go; whatever they do not know, good or bad, they
// leave to the general way, so they decide no case of their own.

// plainTransaction reads `{"sessionId":"ID","winAmount":N,"deposit":B}` with an ID that plainLen takes whole.
func plainTransaction(src []byte) (tx Transaction, ok bool) {
	if src, ok = after(src, `{"sessionId":`); !ok || len(src) == 0 || src[0] != '"' {
		return tx, false
	}
	src = src[1:]
	n := plainLen(src)
	id := src[:n]
	if src, ok = after(src[n:], `",`); !ok || n == 0 {
		return tx, false
	}
	if src, ok = after(src, `"winAmount":`); !ok {
		return tx, false
	}
	if n = bytes.IndexByte(src, ','); n < 0 {
		return tx, false
	}
	amount, err := decimal.Parse(src[:n])
	if err != nil {
		return tx, false
	}
	src, _ = after(src[n:], `,`)
	if src, ok = after(src, `"deposit":`); !ok {
		return tx, false
	}
	switch string(src) {
	case `false}`:
		return Transaction{string(id), amount, false}, true
	case `true}`:
		return Transaction{string(id), amount, true}, true
	}
	return tx, false
}

// after returns what follows token and one blank at most, or false when src does not start with token.
func after(src []byte, token string) ([]byte, bool) {
	if len(src) < len(token) || string(src[:len(token)]) != token {
		return src, false
	}
	if src = src[len(token):]; len(src) > 0 && src[0] == ' ' {
		src = src[1:]
	}
	return src, true
}

// plainTracking reads `{"totalSum":N}`.
func plainTracking(src []byte) (v SessionTrackingValue, ok bool) {
	const head = `{"totalSum":`
	last := len(src) - 1
	if last < len(head) || string(src[:len(head)]) != head || src[last] != '}' {
		return v, false
	}
	sum, err := decimal.Parse(src[len(head):last])
	return SessionTrackingValue{sum}, err == nil
}

// plainLen counts the bytes at the start of s that stand for themselves in a JSON string: ASCII, but no control
// character, quote or backslash.
func plainLen[B []byte | string](s B) int {
	for i := range len(s) {
		if !plain[s[i]] {
			return i
		}
	}
	return len(s)
}

var plain = func() (t [256]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()
