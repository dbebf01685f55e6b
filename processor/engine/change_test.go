package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tally counts the records of each key in each of its states, and tells all counts.
func tally(inputs []string, states ...string) *processor.App {
	app := processor.New("app")
	out := processor.NewOutput(app, output, codec.Text())
	var counts []processor.State[int64]
	for _, s := range states {
		counts = append(counts, processor.NewState(app, s, codec.Int64()))
	}
	for _, in := range inputs {
		processor.Handle(app, in, codec.Text(), func(c *processor.Context, v string) error {
			told := v
			for i, count := range counts {
				n, _ := count.Get(c)
				count.Set(c, n+1)
				told += fmt.Sprintf(" %s=%d", states[i], n+1)
			}
			out.Emit(c, told)
			return nil
		})
	}
	return app
}

// tallies is what tally must tell, over its changes.
type tallies struct {
	*world
	dir    string
	counts map[string]map[string]int // by state and key
}

func newTallies(t *testing.T) *tallies {
	return &tallies{newWorld(t), t.TempDir(), map[string]map[string]int{}}
}

// round runs one form of the application over n records of an input and checks what it tells.
func (w *tallies) round(cfg engine.Config, topic string, n int, inputs []string, states ...string) {
	w.t.Helper()
	var rs []*kgo.Record
	for i := range n {
		key := "k" + strconv.Itoa(i%20)
		told := strconv.Itoa(w.sent + i)
		rs = append(rs, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(told)})
		for _, s := range states {
			if w.counts[s] == nil {
				w.counts[s] = map[string]int{}
			}
			w.counts[s][key]++
			told += fmt.Sprintf(" %s=%d", s, w.counts[s][key])
		}
		w.want[key] = append(w.want[key], told)
	}
	for s := range w.counts {
		if !slices.Contains(states, s) {
			delete(w.counts, s)
		}
	}
	w.sent += n
	require.NoError(w.t, w.client.ProduceSync(context.Background(), rs...).FirstErr())
	stop := w.runApp(tally(inputs, states...), cfg)
	require.Equal(w.t, w.want, w.updates())
	stop()
}

// refused runs one form of the application, which must end by an error.
func (w *tallies) refused(says string, inputs []string, states ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	require.ErrorContains(w.t, engine.Run(ctx, tally(inputs, states...), w.config(w.dir)), says)
}

func (w *tallies) deleteTopic(name string) {
	w.t.Helper()
	_, err := kadm.NewClient(w.client).DeleteTopics(context.Background(), name)
	require.NoError(w.t, err)
}

// lines keeps what the engine logs.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.text.Reset()
	return l.text.String()
}

// R6: a state may be added and dropped. An added one begins empty, the others go on, and local state is kept.
func TestAStateIsAddedAndDropped(t *testing.T) {
	t.Parallel()
	for _, wipe := range []bool{false, true} {
		t.Run(fmt.Sprintf("wiped=%v", wipe), func(t *testing.T) {
			w := newTallies(t)
			in := []string{input}
			var log lines
			round := func(states ...string) {
				t.Helper()
				cfg := w.config(w.dir)
				cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				w.round(cfg, input, 400, in, states...)
				if wipe {
					require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "store")))
				}
			}
			round("a")
			require.NotContains(t, log.take(), "new to the application")
			round("a", "b")
			said := log.take()
			require.Contains(t, said, "a state is new to the application: it begins empty")
			round("b", "a", "c") // in another order too
			round("c", "b")
			require.Contains(t, log.text.String(), "its changelog is left alone")
			require.NotContains(t, log.text.String(), "local state is wiped")
			log.take()
			round("c", "b")
			require.NotContains(t, log.take(), "left alone", "said once")

			w.refused("come back to life", in, "c", "b", "a")
			w.deleteTopic("app-a-changelog")
			round("c", "b", "a")
		})
	}
}

// R6: a changelog that was deleted is no added state.
func TestADeletedChangelogIsNoAddedState(t *testing.T) {
	w := newTallies(t)
	in := []string{input}
	w.round(w.config(w.dir), input, 100, in, "a")
	w.round(w.config(w.dir), input, 100, in, "a", "b")
	w.deleteTopic("app-b-changelog")
	w.refused("its state is lost", in, "a", "b")
	w.refused("its state is lost", in, "a", "b", "c")
	kept := w.counts["a"]
	w.round(w.config(w.dir), input, 100, in, "a") // dropped: its loss is no matter
	require.NotEmpty(t, kept)
	w.round(w.config(w.dir), input, 100, in, "a", "b")
}

// A topic gets another name by way of both: the application reads the old one to its end, then the new one alone.
func TestAnInputIsAddedAndDropped(t *testing.T) {
	t.Parallel()
	w := newTallies(t)
	const renamed, other = "transactions-2", "transactions-3"
	_, err := kadm.NewClient(w.client).CreateTopics(t.Context(), 4, 1, nil, renamed, other)
	require.NoError(t, err)
	w.round(w.config(w.dir), input, 200, []string{input}, "a")
	w.round(w.config(w.dir), input, 200, []string{input, renamed}, "a")
	w.round(w.config(w.dir), renamed, 200, []string{input, renamed}, "a")
	w.round(w.config(w.dir), renamed, 200, []string{renamed}, "a")
	w.round(w.config(t.TempDir()), input, 200, []string{renamed, input}, "a") // back again: it goes on where it was
	w.refused("the input has another name than before", []string{other}, "a")
}

// R6: an input comes back as the other one goes: its offsets' marks are of a time before the last records of the changelog.
func TestAnInputComesBackWhereTheOtherGoes(t *testing.T) {
	for name, kept := range map[string]bool{"with local state": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			w := newTallies(t)
			const other = "transactions-2"
			_, err := kadm.NewClient(w.client).CreateTopics(t.Context(), 4, 1, nil, other)
			require.NoError(t, err)
			w.round(w.config(w.dir), input, 200, []string{input}, "a")
			w.round(w.config(w.dir), input, 200, []string{input, other}, "a")
			w.round(w.config(w.dir), other, 200, []string{other}, "a")
			dir := w.dir
			if !kept {
				dir = t.TempDir()
			}
			w.round(w.config(dir), input, 200, []string{input}, "a")
		})
	}
}

// R6: the last transaction's end, which is said again in all topics, is no record of a changelog that is new.
func TestAMarkerIsNoRecordOfANewChangelog(t *testing.T) {
	w := newTallies(t)
	cfg := w.config(w.dir)
	cfg.Instance = "i"
	w.cluster.ControlKey(int16(kmsg.DescribeTransactions), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.cluster.KeepControl()
		answer := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
		state := kmsg.NewDescribeTransactionsResponseTransactionState()
		state.TransactionalID, state.State = req.(*kmsg.DescribeTransactionsRequest).TransactionalIDs[0], "CompleteAbort"
		answer.TransactionStates = append(answer.TransactionStates, state)
		return answer, nil, true
	})
	w.round(cfg, input, 200, []string{input}, "a")
	w.round(cfg, input, 200, []string{input}, "a", "b")
}

// The same under kill -9: --idle-timeout is turned on, and the process is killed at any step of its first commits.
func TestIdleTimeoutIsTurnedOnUnderKills(t *testing.T) {
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
				stop := w.runApp(idleWindow(0), w.config(dir))
				w.wins(100, 2)
				require.Equal(t, w.want, w.updates())
				stop()
				w.wins(100, 1)
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, os.Args[0])
				cmd.Env = append(os.Environ(), envBrokers+"="+strings.Join(w.cluster.ListenAddrs(), ","), envDir+"="+dir,
					envStep+"="+strconv.Itoa(step), envCount+"=1", envIdle+"="+idle.String())
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				require.ErrorAs(t, err, &exit, "output %s", out)
				require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s", out)
				require.NoError(t, ctx.Err(), "no commit: %s", out)
				if wipe {
					require.NoError(t, os.RemoveAll(filepath.Join(dir, "store")))
				}
				stop = w.runApp(idleWindow(idle), w.config(dir))
				w.idleCloses()
				require.Equal(t, w.want, w.updates())
				stop()
				stop = w.runApp(idleWindow(0), w.config(dir))
				w.wins(100, 1)
				require.Equal(t, w.want, w.updates())
				stop()
			})
		}
	}
}

// F56: a changelog value that a later version wrote stops the process, which names its place.
func TestAChangelogOfALaterFormatIsRefused(t *testing.T) {
	w := newTallies(t)
	w.round(w.config(w.dir), input, 100, []string{input}, "a")
	require.NoError(t, w.client.ProduceSync(t.Context(), &kgo.Record{Topic: "app-a-changelog", Partition: 2, Key: []byte("k"),
		Value: []byte("?"), Headers: []kgo.RecordHeader{{Key: "penstock.format", Value: []byte("2")}}}).FirstErr())
	w.refused(`has format "2", this program knows 1`, []string{input}, "a")
}

// F56: a state whose codec changed stops the process, and says which, where and what to do; no record is lost by it. As it was, the
// application goes on.
func TestAStateThatNoLongerDecodesStops(t *testing.T) {
	t.Parallel()
	w := newTallies(t)
	in := []string{input}
	w.round(w.config(w.dir), input, 100, in, "a")

	app := processor.New("app")
	out := processor.NewOutput(app, output, codec.Text())
	state := processor.NewState(app, "a", codec.JSON[struct{ N int }]())
	processor.Handle(app, input, codec.Text(), func(c *processor.Context, v string) error {
		n, _ := state.Get(c)
		state.Set(c, n)
		out.Emit(c, v)
		return nil
	})
	require.NoError(t, w.client.ProduceSync(context.Background(), &kgo.Record{Topic: input, Key: []byte("k0"), Value: []byte("more")}).FirstErr())
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := engine.Run(ctx, app, w.config(w.dir))
	require.ErrorContains(t, err, `state "a" of key "k0"`)
	require.ErrorContains(t, err, "codec")

	w.counts["a"]["k0"]++
	w.want["k0"] = append(w.want["k0"], fmt.Sprintf("more a=%d", w.counts["a"]["k0"]))
	w.round(w.config(w.dir), input, 100, in, "a")
}
