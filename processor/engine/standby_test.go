package engine_test

import (
	"bytes"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// logged keeps what an engine logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// restored is how many changelog records the engine read to take partitions over.
func (l *logged) restored() int {
	n := 0
	for _, m := range regexp.MustCompile(`msg=restored .*records=(\d+)`).FindAllStringSubmatch(l.String(), -1) {
		i, _ := strconv.Atoi(m[1])
		n += i
	}
	return n
}

// A standby's copy makes a takeover read next to nothing, and what it takes over is exact.
func TestAStandbyTakesOverWithLittleToRead(t *testing.T) {
	t.Parallel()
	for copies, most := range []int{1 << 30, 20} {
		t.Run(strconv.Itoa(copies)+" copies", func(t *testing.T) {
			w := newWorld(t)
			var log logged
			begin := func(out io.Writer) func() {
				cfg := w.config(t.TempDir())
				cfg.Standby, cfg.Logger = copies, slog.New(slog.NewTextHandler(out, nil))
				return w.start(cfg)
			}
			stopFirst := begin(testWriter{t})
			w.send(100)
			w.updates()
			stopSecond := begin(&log)
			w.send(3000)
			w.updates()
			time.Sleep(4 * time.Second) // the second joins, and its copies catch up
			before := log.restored()
			stopFirst()
			w.send(300)
			require.Equal(t, w.want, w.updates())
			stopSecond()
			got := log.restored() - before
			t.Logf("%d changelog records read for the takeover", got)
			require.Less(t, got, most)
			if copies == 0 {
				require.Greater(t, got, 20, "the test would tell nothing")
			}
		})
	}
}
