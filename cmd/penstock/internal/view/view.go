// Package view shows session updates to a person: as lines, or as a table that is drawn in place.
package view

import (
	"fmt"
	"io"
	"strconv"
	"unicode"

	"github.com/penstock/penstock/processor/session"
)

// View takes updates one by one. Flush brings to the screen what was taken; Close does so for the last time.
type View interface {
	Show(u session.SessionUpdate)
	Flush() error
	Close() error
}

// Lines prints one line an update: the id and the balance, with the word closed between them for a closing one.
type Lines struct {
	w   io.Writer
	buf []byte
}

// NewLines prints to w.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

// Show takes an update.
func (l *Lines) Show(u session.SessionUpdate) {
	l.buf = append(l.buf, Printable(u.SessionID)...)
	if u.DepositCurrentBalance {
		l.buf = append(l.buf, " closed"...)
	}
	l.buf = u.CurrentBalance.Append(append(l.buf, ' '))
	l.buf = append(l.buf, '\n')
}

// Flush writes.
func (l *Lines) Flush() error {
	_, err := l.w.Write(l.buf)
	l.buf = l.buf[:0]
	return err
}

// Close is Flush.
func (l *Lines) Close() error { return l.Flush() }

// Printable is an id as it is, in quotes where it holds what would upset a terminal or a reader.
func Printable(id string) string {
	for _, r := range id {
		if !unicode.IsGraphic(r) || r == unicode.ReplacementChar || r == '"' || unicode.IsSpace(r) {
			return strconv.Quote(id)
		}
	}
	return id
}

// Number writes n with commas between thousands.
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	if n < 0 {
		return "-" + Number(-n)
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Seconds writes a duration as people say it.
func Seconds(s float64) string { return fmt.Sprintf("%.1f s", s) }
