package view

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/penstock/penstock/processor/session"
)

// rows is how many sessions a table shows.
const rows = 12

// redraw is the shortest time between two pictures.
const redraw = 50 * time.Millisecond

// Table draws the sessions of the last updates in place. A session keeps its row until rows are needed and it is the one
// that has been silent for the longest.
type Table struct {
	w     io.Writer
	slots [rows]slot
	index map[string]int // id -> slot
	tick  uint64

	updates, closed int64
	deposited       session.Amount // by the closings
	uncounted       bool           // deposited does not hold it
	began, drawn    time.Time
	height          int  // lines of the last picture
	stale           bool // something changed since then
	buf             bytes.Buffer

	counts map[string]int64 // updates of the open sessions
	anew   bool             // counts is not of all of them any more
	above  above
}

// above collects lines that are to stand over the table.
type above struct {
	mu    sync.Mutex
	lines []byte
	after io.Writer // takes what comes when the last picture is drawn; nil before
}

func (a *above) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.after != nil {
		return a.after.Write(p)
	}
	a.lines = append(a.lines, p...)
	return len(p), nil
}

func (a *above) take() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	lines := a.lines
	a.lines = nil
	return lines
}

func (a *above) waiting() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.lines) > 0
}

// Above takes lines of text that are written over the table at its next picture. It is safe for concurrent use.
func (t *Table) Above() io.Writer { return &t.above }

// maxCounts bounds the sessions whose updates are counted. When there are more, counting begins anew.
const maxCounts = 100_000

type slot struct {
	update session.SessionUpdate
	count  int64 // updates of the session since it was opened
	seen   uint64
}

// NewTable draws on the terminal w.
func NewTable(w io.Writer) *Table {
	return &Table{w: w, index: map[string]int{}, counts: map[string]int64{}, began: time.Now(), stale: true}
}

// Show takes an update.
func (t *Table) Show(u session.SessionUpdate) {
	t.tick++
	t.updates++
	if u.DepositCurrentBalance {
		t.closed++
		sum, err := t.deposited.Add(u.CurrentBalance)
		t.deposited, t.uncounted = sum, t.uncounted || err != nil
	}
	i, ok := t.index[u.SessionID]
	if !ok {
		i = t.oldest()
		delete(t.index, t.slots[i].update.SessionID)
		t.index[u.SessionID] = i
	}
	t.slots[i] = slot{update: u, seen: t.tick, count: t.count(u)}
	t.stale = true
}

func (t *Table) count(u session.SessionUpdate) int64 {
	n := t.counts[u.SessionID] + 1
	if len(t.counts) >= maxCounts {
		clear(t.counts)
		t.anew = true
	}
	t.counts[u.SessionID] = n
	if u.DepositCurrentBalance {
		delete(t.counts, u.SessionID)
	}
	return n
}

func (t *Table) oldest() int {
	best := 0
	for i := range t.slots {
		if t.slots[i].seen < t.slots[best].seen {
			best = i
		}
	}
	return best
}

// Flush draws, if the last picture is old enough.
func (t *Table) Flush() error {
	if !t.stale && !t.above.waiting() || time.Since(t.drawn) < redraw {
		return nil
	}
	return t.draw()
}

// Close draws the last picture.
func (t *Table) Close() error {
	err := t.draw()
	t.above.mu.Lock()
	defer t.above.mu.Unlock()
	t.above.after = t.w
	_, late := t.w.Write(t.above.lines)
	t.above.lines = nil
	return errors.Join(err, late)
}

func (t *Table) draw() error {
	t.stale, t.drawn = false, time.Now()
	t.buf.Reset()
	if t.height > 0 {
		fmt.Fprintf(&t.buf, "\x1b[%dA\r", t.height)
	}
	for line := range bytes.Lines(t.above.take()) {
		t.line("%s", bytes.TrimRight(line, "\r\n"))
	}
	t.height = 0
	t.line("%-28s %20s  %8s  %s", "SESSION", "BALANCE", "UPDATES", "")
	for _, s := range t.slots {
		if s.seen == 0 {
			continue
		}
		state := ""
		if s.update.DepositCurrentBalance {
			state = "\x1b[32mclosed\x1b[0m"
		}
		t.line("%-28s %20s  %8d  %s", clip(Printable(s.update.SessionID), 28), s.update.CurrentBalance, s.count, state)
	}
	elapsed := max(time.Since(t.began).Seconds(), 0.001)
	deposited := t.deposited.String()
	if t.uncounted {
		deposited = "more than can be counted"
	}
	open := Number(int64(len(t.counts)))
	if t.anew {
		open = "at least " + open
	}
	t.line("%s updates, %s sessions open, %s closed, %s deposited, %s", Number(t.updates), open, Number(t.closed), deposited, Seconds(elapsed))
	_, err := t.w.Write(t.buf.Bytes())
	return err
}

// line adds one line to the picture and wipes what was behind it.
func (t *Table) line(format string, args ...any) {
	fmt.Fprintf(&t.buf, format, args...)
	t.buf.WriteString("\x1b[K\n")
	t.height++
}

// clip shortens s to n characters.
func clip(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
