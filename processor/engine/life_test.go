package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// point is where a life ends: at the nth time that something happens.
type point struct {
	kind string
	nth  int
}

func (p point) String() string { return fmt.Sprintf("%s %d", p.kind, p.nth) }

// life is one engine from its start to its crash or stop, within the test's process. At the crash nothing of it reaches
// the brokers any more, and its disk is what a crash leaves of it. What its goroutines do afterwards is seen by nobody.
type life struct {
	t     *testing.T
	name  string
	point point
	rng   *rand.Rand // of what the disk loses
	log   logged
	mem   *vfs.MemFS

	mu      sync.Mutex
	seen    int            // how often point.kind happened
	counts  map[string]int // and every kind, since the beginning
	dead    bool           // crashed
	conns   map[net.Conn]bool
	left    *vfs.MemFS // of the disk, after the crash
	crashed chan struct{}
	commits int           // since the point was set
	lived   chan struct{} // closed at a number of commits without a crash

	cancel context.CancelFunc
	ended  chan struct{} // Run has returned
	err    error         // of Run, once ended
	once   sync.Once
	took   atomic.Int64 // to stop, in nanoseconds
}

var errDead = errors.New("the process is dead")

// progressLimit is how long a life may take for a few commits, on a machine that leads many at a time.
const progressLimit = 90 * time.Second

// smallReads is less than the changelogs here hold, in bytes.
const smallReads = 2 << 10

// begin starts an engine on a disk, nil for an empty one, that crashes at a point. Its name is its instance's.
func (w *world) begin(app *processor.App, cfg engine.Config, name string, disk *vfs.MemFS, at point, rng *rand.Rand) *life {
	if disk == nil {
		disk = vfs.NewCrashableMem()
	}
	if rng != nil { // the caller's is used meanwhile
		rng = rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	}
	l := &life{t: w.t, name: name, point: at, rng: rng, mem: disk, conns: map[net.Conn]bool{}, counts: map[string]int{},
		crashed: make(chan struct{}), lived: make(chan struct{}), ended: make(chan struct{})}
	cfg.StateDir, cfg.Instance, cfg.Dial = w.t.TempDir(), name, l.dial
	cfg.Logger = slog.New(slog.NewTextHandler(&l.log, nil))
	cfg = cfg.WithStep(l.step).WithSmallSteps(20*time.Millisecond, smallReads).WithPurge(20*time.Millisecond, -time.Hour).WithStore(func(id string, o pebblestore.Options) (*pebblestore.Store, error) {
		o.FS = errorfs.Wrap(disk, l)
		if id != app.ID() {
			return pebblestore.Open(id, o) // of what fills an internal topic
		}
		return pebblestore.Open("store", o)
	}).WithTables(func(topic string, o pebblestore.Options) (*pebblestore.Store, error) {
		o.FS = errorfs.Wrap(disk, l)
		return pebblestore.Open("table-"+topic, o)
	})
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go func() {
		defer close(l.ended)
		l.err = engine.Run(ctx, app, cfg)
	}()
	w.t.Cleanup(func() {
		cancel()
		<-l.ended
		if w.t.Failed() {
			w.t.Logf("life of %s, to end at %v:\n%s", name, at, l.log.String())
		}
	})
	return l
}

// event is something that happens. It returns an error from the crash on, which may be now.
func (l *life) event(kind string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errDead
	}
	l.counts[kind]++
	if kind != l.point.kind {
		return nil
	}
	if l.seen++; l.seen != l.point.nth {
		return nil
	}
	l.dead = true
	for c := range l.conns {
		_ = c.Close()
	}
	l.left = l.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: l.rng.IntN(3) * 50, RNG: l.rng})
	close(l.crashed)
	return errDead
}

// passed is how often something happened.
func (l *life) passed(kind string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[kind]
}

func (l *life) step(s worker.Step) error {
	err := l.event("step " + s.String())
	if s != worker.Kept || err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.commits++; l.commits == 10+2*l.point.nth {
		close(l.lived)
	}
	return nil
}

// arm sets another point, to be counted from now on.
func (l *life) arm(at point) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.point, l.seen, l.commits, l.lived = at, 0, 0, make(chan struct{})
}

// end waits for the crash. Where none comes within a number of commits the engine is stopped, and crashes on its way out,
// or not.
func (l *life) end() (disk *vfs.MemFS, crashed bool) {
	l.t.Helper()
	l.await()
	return l.stop()
}

// await waits for the crash, or a number of commits.
func (l *life) await() {
	l.t.Helper()
	select {
	case <-l.crashed:
	case <-l.ended:
		require.NoError(l.t, l.err, "the engine ended by itself")
	case <-l.lived:
	case <-time.After(progressLimit):
		require.Fail(l.t, "the engine makes no progress", "life of %s, to end at %v", l.name, l.point)
	}
}

// lead sends transactions while a life lasts; see end.
func (w *world) lead(l *life) (disk *vfs.MemFS, crashed bool) {
	w.t.Helper()
	defer w.feed(20, 5*time.Millisecond)()
	return l.end()
}

// stop ends the engine, unless it crashes on its way out, and returns the disk that is left.
func (l *life) stop() (disk *vfs.MemFS, crashed bool) {
	l.t.Helper()
	l.cancel()
	l.once.Do(func() { l.t.Cleanup(l.inTime(time.Now())) })
	select {
	case <-l.crashed:
	case <-l.ended:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return l.left, true
	}
	require.NoError(l.t, l.err)
	return l.mem, false
}

// stopLimit is how long an engine may take to stop, whatever it is doing, on a busy machine. Where the brokers do not
// answer it takes 6 s.
const stopLimit = 9 * time.Second

// inTime returns what waits for the engine's end and fails the test where that is late.
func (l *life) inTime(stopped time.Time) func() {
	go func() {
		<-l.ended
		l.took.Store(int64(time.Since(stopped)))
	}()
	return func() {
		<-l.ended
		if took := time.Duration(l.took.Load()); took > stopLimit {
			l.t.Errorf("%s, to end at %v, took %v to stop", l.name, l.point, took)
		}
	}
}

// sound fails the test where the log speaks of what no crash may lead to.
func (l *life) sound() {
	l.t.Helper()
	for _, fault := range []string{"damaged", "panic", "the local store has failed"} {
		require.False(l.t, strings.Contains(l.log.String(), fault), "%q in the log of %s", fault, l.name)
	}
}

// String implements errorfs.Injector.
func (l *life) String() string { return "life" }

// MaybeError implements errorfs.Injector: what is written to the disk are events too.
func (l *life) MaybeError(op errorfs.Op) error {
	if kind, ok := diskOps[op.Kind]; ok {
		_ = l.event("disk " + kind) // a dead life's disk is not looked at
	}
	return nil
}

var diskOps = map[errorfs.OpKind]string{errorfs.OpCreate: "create", errorfs.OpRename: "rename", errorfs.OpRemove: "remove",
	errorfs.OpFileWrite: "write", errorfs.OpFileSync: "sync", errorfs.OpFileSyncData: "sync", errorfs.OpFileSyncTo: "sync", errorfs.OpReuseForWrite: "reuse"}

func (l *life) dial(ctx context.Context, network, host string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		_ = c.Close()
		return nil, errDead
	}
	l.conns[c] = true
	return &lifeline{c, l}, nil
}

// lifeline is a connection whose requests are events, before they are sent and after.
type lifeline struct {
	net.Conn
	life *life
}

func (c *lifeline) Write(p []byte) (int, error) {
	request := "request"
	if len(p) >= 6 {
		request = kmsg.NameForKey(int16(binary.BigEndian.Uint16(p[4:])))
	}
	if err := c.life.event("before " + request); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err == nil {
		err = c.life.event("after " + request)
	}
	return n, err
}
