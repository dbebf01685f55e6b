package engine_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// The test binary runs itself as the process that is killed.
const (
	envBrokers = "ENGINE_TEST_BROKERS"
	envDir     = "ENGINE_TEST_DIR"
	envStep    = "ENGINE_TEST_STEP"  // where to die
	envCount   = "ENGINE_TEST_COUNT" // at which time there
	envRekey   = "ENGINE_TEST_REKEY" // set: the input has other keys
)

func TestMain(m *testing.M) {
	if os.Getenv(envServe) != "" {
		serve()
		os.Exit(0)
	}
	if os.Getenv(envBrokers) != "" {
		die()
	}
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil { // they wait more than they compute
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// die runs the window and kills its own process at a step of a commit.
func die() {
	at, _ := strconv.Atoi(os.Getenv(envStep))
	count, _ := strconv.Atoi(os.Getenv(envCount))
	var seen atomic.Int64
	cfg := engine.Config{Brokers: strings.Split(os.Getenv(envBrokers), ","), StateDir: os.Getenv(envDir), Workers: 2, CommitInterval: 20 * time.Millisecond}
	cfg = cfg.WithStep(func(s worker.Step) error {
		if int(s) == at && int(seen.Add(1)) == count {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	fmt.Println(engine.Run(context.Background(), session.Window(session.Config{ID: "app", Input: input, Output: output, Idle: envIdleTimeout(), Repartition: os.Getenv(envRekey) != ""}), cfg))
	os.Exit(3)
}

// R1-R6: a process that is killed at any step of a commit, its store kept or lost, goes on exactly.
func TestKilledAtEveryStepOfACommit(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes; run without -short")
	}
	for _, wipe := range []bool{false, true} {
		t.Run(fmt.Sprintf("wiped=%v", wipe), func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			for step := range worker.CommitSteps {
				if worker.Step(step) == worker.Frozen {
					continue // a batch leaves after seconds only
				}
				for count := 1; count <= 3; count += 2 {
					w.send(500)
					cmd := exec.Command(os.Args[0])
					cmd.Env = append(os.Environ(), envBrokers+"="+strings.Join(w.cluster.ListenAddrs(), ","), envDir+"="+dir,
						envStep+"="+strconv.Itoa(step), envCount+"="+strconv.Itoa(count))
					feed := w.feed(50, 10*time.Millisecond)
					out, err := cmd.CombinedOutput()
					feed()
					var exit *exec.ExitError
					require.ErrorAs(t, err, &exit, "output %s", out)
					require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "step %v: %s", worker.Step(step), out)
					if wipe {
						require.NoError(t, os.RemoveAll(filepath.Join(dir, "store")))
					}
				}
			}
			stop := w.start(w.config(dir))
			require.Equal(t, w.want, w.updates())
			stop()
		})
	}
}

// feed sends n transactions every so often until the returned function is called.
func (w *world) feed(n int, every time.Duration) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				w.send(n)
			}
		}
	}()
	return func() { close(quit); <-done }
}

// R3: an error at any step of a commit is a normal path: the client is replaced, the process goes on, nothing is lost or
// doubled.
func TestAnErrorAtAnyStepOfACommitIsRecovered(t *testing.T) {
	t.Parallel()
	for step := range worker.CommitSteps {
		t.Run(worker.Step(step).String(), func(t *testing.T) {
			newWorld(t).exactOverErrors(window(), worker.Step(step))
		})
	}
}

// exactOverErrors runs an application under load with an error at every third time of a step. There are a few of them: each
// doubles the pause before the worker that it meets goes on.
func (w *world) exactOverErrors(app *processor.App, at worker.Step) {
	w.t.Helper()
	var commits atomic.Int64
	cfg := w.config(w.t.TempDir()).WithStep(func(s worker.Step) error {
		if s != at {
			return nil
		}
		if n := commits.Add(1); n%3 == 0 && n <= 3*8 {
			return errors.New("injected")
		}
		return nil
	})
	cfg.CommitInterval = 20 * time.Millisecond
	cfg.Monitor = engine.NewMonitor()
	stop := w.runApp(app, cfg)
	feed := w.feed(100, 5*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	feed()
	require.Equal(w.t, w.want, w.updates())
	stop()
	fed := 0
	for _, updates := range w.want {
		fed += len(updates)
	}
	// What a transaction did that was dropped is not counted, nor what one did whose end was not learned.
	if counted := int(cfg.Monitor.Status().Counts.Records); at == worker.Ended {
		require.LessOrEqual(w.t, counted, fed)
	} else {
		require.Equal(w.t, fed, counted, "records that are counted as committed")
	}
}

// At least once: after any error nothing is lost, though something may be there twice. The read ends when every session
// has as many updates as transactions, or fails.
func TestAtLeastOnceLosesNothing(t *testing.T) {
	t.Parallel()
	for step := range worker.CommitSteps {
		t.Run(worker.Step(step).String(), func(t *testing.T) {
			w := newWorld(t)
			var commits atomic.Int64
			cfg := w.config(t.TempDir()).WithStep(func(s worker.Step) error {
				if int(s) == step && commits.Add(1)%3 == 0 {
					return errors.New("injected")
				}
				return nil
			})
			cfg.CommitInterval, cfg.Guarantee = 20*time.Millisecond, engine.AtLeastOnce
			stop := w.start(cfg)
			feed := w.feed(100, 5*time.Millisecond)
			time.Sleep(200 * time.Millisecond)
			feed()
			w.read(func(got map[string][]string, _ int) bool {
				for id, want := range w.want {
					if len(got[id]) < len(want) {
						return false
					}
				}
				return true
			})
			stop()
		})
	}
}
