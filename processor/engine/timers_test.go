package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

const envIdle = "ENGINE_TEST_IDLE" // idle timeout of the process that is killed

func envIdleTimeout() time.Duration {
	d, _ := time.ParseDuration(os.Getenv(envIdle))
	return d
}

// runApp runs an App until stop is called.
func (w *world) runApp(app *processor.App, cfg engine.Config) (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := engine.Run(ctx, app, cfg)
		if err != nil {
			w.failed.Store(&err)
		}
		done <- err
	}()
	return func() {
		w.t.Helper()
		cancel()
		select {
		case err := <-done:
			require.NoError(w.t, err)
		case <-time.After(15 * time.Second):
			w.t.Fatal("the engine does not stop")
		}
	}
}

func idleWindow(idle time.Duration) *processor.App {
	return session.Window(session.Config{ID: "app", Input: input, Output: output, Idle: idle})
}

// wins sends a transaction of 1 to each of n sessions, round by round.
func (w *world) wins(n, rounds int) {
	w.t.Helper()
	var rs []*kgo.Record
	for range rounds {
		for i := range n {
			id := "s" + strconv.Itoa(i)
			w.balances[id]++
			w.want[id] = append(w.want[id], fmt.Sprintf(`{"sessionId":"%s","currentBalance":%d,"depositCurrentBalance":false}`, id, w.balances[id]))
			rs = append(rs, &kgo.Record{Topic: input, Key: []byte(id), Value: fmt.Appendf(nil, `{"sessionId":"%s","winAmount":1}`, id)})
			w.sent++
		}
	}
	require.NoError(w.t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
}

// idleCloses expects each open session to be closed by its idle timeout.
func (w *world) idleCloses() {
	for id, balance := range w.balances {
		w.want[id] = append(w.want[id], fmt.Sprintf(`{"sessionId":"%s","currentBalance":%d,"depositCurrentBalance":true}`, id, balance))
		w.sent++
		delete(w.balances, id)
	}
}

func TestASilentSessionIsClosedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.runApp(idleWindow(300*time.Millisecond), w.config(t.TempDir()))
	w.wins(200, 3)
	w.idleCloses()
	require.Equal(t, w.want, w.updates())
	w.wins(200, 1) // a new session each
	w.idleCloses()
	require.Equal(t, w.want, w.updates())
	stop()
	time.Sleep(400 * time.Millisecond)
	stop = w.runApp(idleWindow(300*time.Millisecond), w.config(t.TempDir()))
	w.wins(10, 1)
	w.idleCloses()
	require.Equal(t, w.want, w.updates(), "after a restart without a store")
	stop()
}

// R12: after a stop that outlasts the deadlines, the waiting transactions come first.
func TestWaitingRecordsComeBeforeTimers(t *testing.T) {
	t.Parallel()
	for _, wipe := range []bool{false, true} {
		t.Run(fmt.Sprintf("wiped=%v", wipe), func(t *testing.T) {
			const idle = 2 * time.Second
			w := newWorld(t)
			dir := t.TempDir()
			stop := w.runApp(idleWindow(idle), w.config(dir))
			w.wins(500, 1)
			require.Equal(t, w.want, w.updates())
			stop()
			w.wins(500, 100) // many fetches
			time.Sleep(idle)
			if wipe {
				dir = t.TempDir()
			}
			stop = w.runApp(idleWindow(idle), w.config(dir))
			w.idleCloses()
			require.Equal(t, w.want, w.updates())
			stop()
		})
	}
}

// R2: a process that is killed at any step of the commit in which timers fire, its store kept or lost, closes each session
// once.
func TestKilledAtTheDeadline(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	const idle = 3 * time.Second
	for _, wipe := range []bool{false, true} {
		for step := range worker.CommitSteps {
			if worker.Step(step) == worker.Frozen {
				continue // a batch leaves after seconds only
			}
			t.Run(fmt.Sprintf("%v,wiped=%v", worker.Step(step), wipe), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				dir := t.TempDir()
				stop := w.runApp(idleWindow(idle), w.config(dir))
				w.wins(200, 2)
				require.Equal(t, w.want, w.updates())
				stop()
				// There is nothing to read: the first commit of the process is that of timers.
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, os.Args[0])
				cmd.Env = append(os.Environ(), envBrokers+"="+strings.Join(w.cluster.ListenAddrs(), ","), envDir+"="+dir,
					envStep+"="+strconv.Itoa(step), envCount+"=1", envIdle+"="+idle.String())
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit, "output %s", out)
				require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
				require.NoError(t, ctx.Err(), "no timer fired: %s", out)
				if wipe {
					require.NoError(t, os.RemoveAll(filepath.Join(dir, "store")))
				}
				stop = w.runApp(idleWindow(idle), w.config(dir))
				w.idleCloses()
				require.Equal(t, w.want, w.updates())
				stop()
			})
		}
	}
}

// R3: an error at any step of a commit is a normal path for timers too.
func TestTimersSurviveAnErrorAtAnyStepOfACommit(t *testing.T) {
	t.Parallel()
	for step := range worker.CommitSteps {
		t.Run(worker.Step(step).String(), func(t *testing.T) {
			w := newWorld(t)
			var commits atomic.Int64
			cfg := w.config(t.TempDir()).WithStep(func(s worker.Step) error {
				if int(s) == step && commits.Add(1)%2 == 0 {
					return fmt.Errorf("injected")
				}
				return nil
			})
			stop := w.runApp(idleWindow(200*time.Millisecond), cfg)
			w.wins(100, 3)
			w.idleCloses()
			require.Equal(t, w.want, w.updates())
			stop()
		})
	}
}

// warnings counts what the engine warns of.
type warnings struct {
	slog.Handler
	n *atomic.Int64
}

func (h warnings) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.n.Add(1)
	}
	return h.Handler.Handle(ctx, r)
}

func (h warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{h.Handler.WithAttrs(a), h.n} }

// A timer that is set and fires within one transaction, without any effect, leaves nothing to commit but the offsets.
func TestATimerWithoutEffects(t *testing.T) {
	for name, clock := range map[string]processor.Clock{"wall clock": processor.WallClock, "event time": processor.EventTime} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var fired atomic.Int64
			app := processor.New("app")
			alarm := processor.NewTimer(app, "alarm", clock, func(c *processor.Context) error {
				fired.Add(1)
				return nil
			})
			processor.Handle(app, input, codec.Text(), func(c *processor.Context, v string) error {
				alarm.Set(c, time.Time{})
				return nil
			})
			var n atomic.Int64
			cfg := w.config(t.TempDir())
			cfg.Logger = slog.New(warnings{cfg.Logger.Handler(), &n})
			stop := w.runApp(app, cfg)
			for i := range 20 {
				w.send(1)
				require.Eventually(t, func() bool { return fired.Load() == int64(i+1) }, 10*time.Second, time.Millisecond)
			}
			stop()
			require.EqualValues(t, 20, fired.Load())
			require.Zero(t, n.Load(), "warnings")
		})
	}
}
