package view_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/cmd/penstock/internal/view"
	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/processor/session"
)

func update(id, balance string, closed bool) session.SessionUpdate {
	return session.SessionUpdate{SessionID: id, CurrentBalance: decimal.MustParse(balance), DepositCurrentBalance: closed}
}

func TestLines(t *testing.T) {
	var out strings.Builder
	l := view.NewLines(&out)
	l.Show(update("session-3", "120.50", false))
	l.Show(update("session-3", "250.10", true))
	l.Show(update("\x1b[2J x", "0", false))
	require.NoError(t, l.Close())
	require.Equal(t, "session-3 120.50\nsession-3 closed 250.10\n\"\\x1b[2J x\" 0\n", out.String())
}

func TestJSONLines(t *testing.T) {
	var out strings.Builder
	l := view.NewJSONLines(&out)
	l.Show(update("é\n", "-1.00", false))
	require.NoError(t, l.Close())
	require.Equal(t, `{"sessionId":"é\n","currentBalance":-1.00,"depositCurrentBalance":false}`+"\n", out.String())
}

// screen plays what a table writes and returns the lines that a person sees.
func screen(out string) []string {
	var lines []string
	row := 0
	for out != "" {
		var up int
		if n, _ := fmt.Sscanf(out, "\x1b[%dA\r", &up); n == 1 {
			row -= up
			out = out[strings.Index(out, "\r")+1:]
			continue
		}
		line, rest, _ := strings.Cut(out, "\x1b[K\n")
		for len(lines) <= row {
			lines = append(lines, "")
		}
		lines[row] = strings.TrimRight(line, " ")
		row, out = row+1, rest
	}
	return lines
}

func TestTableIsDrawnInPlace(t *testing.T) {
	var out strings.Builder
	table := view.NewTable(&out)
	require.NoError(t, table.Flush())
	table.Show(update("a", "1", false))
	table.Show(update("a", "3.50", false))
	fmt.Fprintln(table.Above(), "a log line")
	table.Show(update("b", "7", true))
	require.NoError(t, table.Close())
	fmt.Fprint(table.Above(), "late\x1b[K\n")
	lines := screen(out.String())
	require.Len(t, lines, 6, "%q", lines)
	require.Equal(t, "a log line", lines[0])
	require.Contains(t, lines[1], "BALANCE")
	require.Regexp(t, `^a +3\.50 +2$`, lines[2])
	require.Regexp(t, `^b +7 +1  .*closed`, lines[3])
	require.Regexp(t, `^3 updates, 1 sessions open, 1 closed, 7 deposited, `, lines[4])
	require.Equal(t, "late", lines[5])
}

func TestTableReplacesTheLongestSilent(t *testing.T) {
	var out strings.Builder
	table := view.NewTable(&out)
	for i := range 12 {
		table.Show(update(fmt.Sprint("s", i), "1", false))
	}
	table.Show(update("s0", "2", false))
	table.Show(update("other", "1", false)) // in the place of s1
	require.NoError(t, table.Close())
	text := strings.Join(screen(out.String()), "\n")
	require.Contains(t, text, "other")
	require.Contains(t, text, "s0 ")
	require.NotContains(t, text, "s1 ")
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		require.Equal(t, want, view.Number(n))
	}
}
