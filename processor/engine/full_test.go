package engine_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A stop is bounded when the brokers take no records any more, by a quota say, and the client's buffer is full: what waits for
// room in it is let go.
func TestAStopIsBoundedWhileNothingIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send(60000) // more effects than the buffer takes
	held := make(chan struct{}, 1)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	w.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		w.cluster.SleepControl(func() {
			select {
			case held <- struct{}{}:
			default:
			}
			<-release
		})
		return nil, nil, false
	})
	cfg := w.config(t.TempDir())
	cfg.Workers, cfg.CommitInterval, cfg.SessionTimeout = 1, 20*time.Second, 60*time.Second
	stop := w.start(cfg)
	<-held
	time.Sleep(time.Second) // the rest of the buffer fills
	began := time.Now()
	stop()
	require.Less(t, time.Since(began), 10*time.Second)
}
