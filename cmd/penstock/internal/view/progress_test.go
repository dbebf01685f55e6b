package view

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// screen is a terminal of one column of lines: what a person sees at the end.
type screen struct {
	mu  sync.Mutex
	raw bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.Write(p)
}

func (s *screen) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := strings.Split(s.raw.String(), "\n")
	for i, l := range lines {
		if at := strings.LastIndex(l, "\r\x1b[K"); at >= 0 {
			lines[i] = l[at+len("\r\x1b[K"):]
		}
	}
	return lines
}

func TestProgressStaysBelowWhatIsSaid(t *testing.T) {
	var s screen
	n := 0
	p := NewProgress(&s, func() string { n++; return fmt.Sprintf("%d seen", n) })
	require.Eventually(t, func() bool { return strings.HasSuffix(s.lines()[0], " seen") }, 10*time.Second, time.Millisecond)
	fmt.Fprintln(p, "line 3 is bad")
	fmt.Fprintln(p, "line 7 is bad")
	require.Equal(t, []string{"line 3 is bad", "line 7 is bad"}, s.lines()[:2])
	require.Len(t, s.lines(), 3)
	require.Contains(t, s.lines()[2], "seen")
	require.NoError(t, p.Close())
	fmt.Fprintln(p, "the end")
	require.Equal(t, []string{"line 3 is bad", "line 7 is bad", "the end", ""}, s.lines())
}
