package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

const querySessions = 16

// oracle asks processes for sessions' sums and holds every answer to those that came before the question.
type oracle struct {
	t      *testing.T
	client *http.Client

	mu                sync.Mutex
	newest            [querySessions]int // answered so far, by anybody
	answered, refused map[string]int     // by who was asked
}

func newOracle(t *testing.T) *oracle {
	o := &oracle{t: t, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{}}, answered: map[string]int{}, refused: map[string]int{}}
	t.Cleanup(o.client.CloseIdleConnections)
	return o
}

// ask puts one question to a process. It returns an error for an answer that is none.
func (o *oracle) ask(base string, session int) error {
	o.mu.Lock()
	least := o.newest[session]
	o.mu.Unlock()
	resp, err := o.client.Get(fmt.Sprintf("%s/api/v1/state/total/q%d", base, session))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var got struct {
		Instance string
		Value    struct{ TotalSum int }
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if resp.StatusCode == http.StatusServiceUnavailable {
		o.refused[base]++
		if resp.Header.Get("Retry-After") == "" {
			o.t.Errorf("503 without a time to come again: %s", raw)
		}
		return fmt.Errorf("503: %s", raw)
	}
	if err := json.Unmarshal(raw, &got); err != nil || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
		o.t.Errorf("status %d: %s", resp.StatusCode, raw)
	}
	o.answered[base]++
	if got.Value.TotalSum < least {
		o.t.Errorf("session q%d: %s answered %d by %s, after %d was answered", session, base, got.Value.TotalSum, got.Instance, least)
	}
	o.newest[session] = max(o.newest[session], got.Value.TotalSum)
	return nil
}

// keepAsking asks for every session in turn until stop is called.
func (o *oracle) keepAsking(bases ...string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, base := range bases {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if o.ask(base, i%querySessions) != nil {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	stop = func() { cancel(); wg.Wait() }
	o.t.Cleanup(stop)
	return stop
}

func (o *oracle) count(base string) (answered, refused int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.answered[base], o.refused[base]
}

// more waits until each of some processes, which are being asked, has answered so often again.
func (o *oracle) more(n int, bases ...string) {
	o.t.Helper()
	for _, base := range bases {
		before, _ := o.count(base)
		require.Eventually(o.t, func() bool { now, _ := o.count(base); return now >= before+n }, 90*time.Second, 20*time.Millisecond, base)
	}
}

// win adds 1 to each session, again and again until stop is called, which returns how often.
func (c *cluster) win() (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	cl, n := c.client(), 0
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; n++ {
			var rs []*kgo.Record
			for i := range querySessions {
				id := "q" + strconv.Itoa(i)
				rs = append(rs, &kgo.Record{Topic: "transactions", Key: []byte(id), Value: fmt.Appendf(nil, `{"sessionId":%q,"winAmount":1}`, id)})
			}
			if err := cl.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
				c.t.Error(err)
				return
			}
			time.Sleep(2 * time.Millisecond)
		}
	}()
	stop = func() int { cancel(); <-done; return n }
	c.t.Cleanup(func() { stop() })
	return stop
}

// settled waits until a process answers n for every session.
func (o *oracle) settled(n int, bases ...string) {
	o.t.Helper()
	for _, base := range bases {
		for i := range querySessions {
			require.Eventually(o.t, func() bool {
				err := o.ask(base, i)
				o.mu.Lock()
				defer o.mu.Unlock()
				return err == nil && o.newest[i] == n
			}, 60*time.Second, 20*time.Millisecond, "session q%d at %s", i, base)
		}
	}
}

// F59: a process is frozen until another has its partitions and has answered for them, and wakes with questions waiting. It
// answers none from what it had; nor is any answer older than one before it while processes come and go.
func TestQueriesOverTakeoversAndFreezes(t *testing.T) {
	c := newCluster(t, "asked", 4)
	a, b := c.member(0, "--http", "127.0.0.1:0"), c.member(1, "--http", "127.0.0.1:0")
	at, bt := a.address(), b.address()
	o := newOracle(t)
	won := c.win()
	stop := o.keepAsking(at, bt)
	o.more(200, at, bt)
	stop()

	require.NoError(t, a.cmd.Process.Signal(syscall.SIGSTOP))
	stop = o.keepAsking(bt)
	time.Sleep(9 * time.Second) // past the session
	for i := range querySessions {
		require.Eventually(t, func() bool { return o.ask(bt, i) == nil }, 60*time.Second, 20*time.Millisecond, "b answers for all")
	}
	var waiting sync.WaitGroup
	for i := range 10 * querySessions { // taken by the kernel, for a to answer when it wakes
		waiting.Go(func() { _ = o.ask(at, i%querySessions) })
	}
	time.Sleep(time.Second)
	before, _ := o.count(at)
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGCONT))
	waiting.Wait()
	after, refused := o.count(at)
	t.Logf("of %d questions that waited for the frozen process, %d were answered; it refused %d in all", 10*querySessions, after-before, refused)
	stop()
	stop = o.keepAsking(at, bt)
	o.more(200, at, bt)
	b.stop()
	o.more(200, at)
	b = c.member(1, "--http", "127.0.0.1:0")
	bt = b.address()
	stopMore := o.keepAsking(bt)
	o.more(200, at, bt)
	b.kill()
	b = c.member(1, "--http", "127.0.0.1:0")
	o.more(200, at)
	stop()
	stopMore()
	bt = b.address()
	o.settled(won(), at, bt)
	a.running()
	a.stop()
	b.stop()
}

// F59: a process is frozen for less than its session while another one is started under its instance id, which has the
// partitions at once. The frozen one's last heartbeat is young, and it must answer nothing all the same.
func TestAReplacedProcessAnswersNothing(t *testing.T) {
	c := newCluster(t, "replaced", 2)
	args := append([]string{"run", "--instance", "same", "--session-timeout", "30s", "--transaction-timeout", "6s", "--http", "127.0.0.1:0"}, c.common...)
	a := start(t, append(args, "--state-dir", c.dir(0))...)
	at := a.address()
	o := newOracle(t)
	won := c.win()
	for i := range querySessions {
		require.Eventually(t, func() bool { return o.ask(at, i) == nil }, 30*time.Second, 20*time.Millisecond)
	}
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGSTOP))
	b := start(t, append(args, "--state-dir", c.dir(1))...)
	bt := b.address()
	for i := range querySessions {
		was := o.newest[i]
		require.Eventually(t, func() bool { return o.ask(bt, i) == nil && o.newest[i] > was }, 15*time.Second, 10*time.Millisecond)
	}
	var waiting sync.WaitGroup
	for i := range 10 * querySessions {
		waiting.Go(func() { _ = o.ask(at, i%querySessions) })
	}
	time.Sleep(500 * time.Millisecond)
	before, _ := o.count(at)
	require.NoError(t, a.cmd.Process.Signal(syscall.SIGCONT))
	waiting.Wait()
	after, _ := o.count(at)
	require.Equal(t, before, after, "the replaced process answered")
	select {
	case <-a.done: // it says why, R13
	case <-time.After(30 * time.Second):
		t.Fatal("the replaced process goes on")
	}
	select {
	case <-b.done:
		t.Fatal("the process that replaced it ended as well")
	case <-time.After(2 * time.Second):
	}
	o.settled(won(), bt)
	b.stop()
}
