package view

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/penstock/penstock/processor/session"
)

// columns of an update, as its JSON names them.
var columns = []string{"sessionId", "currentBalance", "depositCurrentBalance"}

func fields(u session.SessionUpdate) []string {
	return []string{u.SessionID, string(u.CurrentBalance.Append(nil)), strconv.FormatBool(u.DepositCurrentBalance)}
}

// CSV prints a header and one line an update (RFC 4180).
type CSV struct{ w *csv.Writer }

// NewCSV prints to w.
func NewCSV(w io.Writer) *CSV {
	c := &CSV{csv.NewWriter(w)}
	_ = c.w.Write(columns) // Flush tells
	return c
}

// Show takes an update.
func (c *CSV) Show(u session.SessionUpdate) { _ = c.w.Write(fields(u)) }

// Flush writes.
func (c *CSV) Flush() error {
	c.w.Flush()
	return c.w.Error()
}

// Close is Flush.
func (c *CSV) Close() error { return c.Flush() }

// Batches prints a table for all updates between two Flushes, as Spark's console sink does for a micro-batch.
type Batches struct {
	w    io.Writer
	n    int
	rows [][]string
}

// NewBatches prints to w.
func NewBatches(w io.Writer) *Batches { return &Batches{w: w} }

// Show takes an update.
func (b *Batches) Show(u session.SessionUpdate) {
	row := fields(u)
	row[0] = Printable(row[0])
	b.rows = append(b.rows, row)
}

// Flush writes the batch, if there is anything in it.
func (b *Batches) Flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	widths := make([]int, len(columns))
	for _, row := range append([][]string{columns}, b.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out bytes.Buffer
	const line = "-------------------------------------------\n"
	fmt.Fprintf(&out, "%sBatch: %d\n%s", line, b.n, line)
	rule := "+"
	for _, w := range widths {
		rule += strings.Repeat("-", w) + "+"
	}
	print := func(row []string) {
		out.WriteByte('|')
		for i, cell := range row {
			out.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)) + cell + "|")
		}
		out.WriteByte('\n')
	}
	fmt.Fprintln(&out, rule)
	print(columns)
	fmt.Fprintln(&out, rule)
	for _, row := range b.rows {
		print(row)
	}
	fmt.Fprintf(&out, "%s\n\n", rule)
	b.n, b.rows = b.n+1, b.rows[:0]
	_, err := b.w.Write(out.Bytes())
	return err
}

// Close is Flush.
func (b *Batches) Close() error { return b.Flush() }
