package session

import (
	"bytes"

	"github.com/penstock/penstock/codec/decimal"
)

// Most records are laid out exactly as the codecs of this package write them. The functions below read that layout in
// one go; whatever they do not know, good or bad, they leave to the general way, so they decide no case of their own.

// plainTransaction reads `{"sessionId":"ID","winAmount":N,"deposit":B}` with an ID that plainLen takes whole.
func plainTransaction(src []byte) (tx Transaction, ok bool) {
	const head, middle = `{"sessionId":"`, `","winAmount":`
	if len(src) < len(head) || string(src[:len(head)]) != head {
		return tx, false
	}
	src = src[len(head):]
	n := plainLen(src)
	if n == 0 || len(src)-n < len(middle) || string(src[n:n+len(middle)]) != middle {
		return tx, false
	}
	id, src := src[:n], src[n+len(middle):]
	if n = bytes.IndexByte(src, ','); n < 0 {
		return tx, false
	}
	switch string(src[n:]) {
	case `,"deposit":false}`:
	case `,"deposit":true}`:
		tx.Deposit = true
	default:
		return tx, false
	}
	amount, err := decimal.Parse(src[:n])
	if err != nil {
		return tx, false
	}
	tx.SessionID, tx.WinAmount = string(id), amount
	return tx, true
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
		if c := s[i]; c < ' ' || c >= 0x80 || c == '"' || c == '\\' {
			return i
		}
	}
	return len(s)
}
