package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/penstock/penstock/statestore"
)

// health is what Pebble's background work says of itself. Pebble calls it with locks held, so nothing here waits.
//
// Two kinds of fault are told apart. Trouble is a flush or compaction that failed; Pebble tries it again, and the next
// success ends the trouble. A failure is where Pebble would have ended the process, or found a damaged file; it sticks,
// every later call returns it, and the gate lets no more writes through.
type health struct {
	log    *slog.Logger
	failed chan struct{} // closed once cause is set
	closed chan struct{} // closed when the store closes

	mu      sync.Mutex
	cause   error
	trouble error
	changed chan struct{} // closed and replaced when trouble, or what waits to be written, has changed
}

func newHealth(log *slog.Logger) *health {
	return &health{log: log, failed: make(chan struct{}), closed: make(chan struct{}), changed: make(chan struct{})}
}

// watch returns a channel that is closed at the next report of the background work, and the present trouble.
func (h *health) watch() (changed <-chan struct{}, trouble error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed, h.trouble
}

// failure returns the error that sticks, or nil.
func (h *health) failure() error {
	select {
	case <-h.failed:
		return h.cause // written once, before failed was closed
	default:
		return nil
	}
}

// fail makes the store unusable and returns the first cause. A full disk does not mean that the files are damaged: they
// hold a prefix of what was applied, and the store may be opened again.
func (h *health) fail(cause error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause != nil {
		return h.cause
	}
	if statestore.IsNoSpace(cause) {
		h.cause = fmt.Errorf("the disk filled up in mid-write of the manifest: %w: %w", statestore.ErrReopen, cause)
	} else {
		h.cause = corrupt(cause)
	}
	h.log.Error("the local store has failed", "error", h.cause)
	close(h.failed)
	return h.cause
}

// report notes the outcome of a flush or compaction; nil is a success.
func (h *health) report(err error) {
	if err != nil && isDamage(err) {
		_ = h.fail(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.cause != nil:
	case err != nil && h.trouble == nil:
		h.log.Error("the local store cannot be written; it is tried again", "error", err)
	case err == nil && h.trouble != nil:
		h.log.Info("the local store can be written again")
	}
	h.trouble = err
	close(h.changed)
	h.changed = make(chan struct{})
}

// emptyTable is the text of the error by which Pebble says that a flush succeeded and had nothing to write.
const emptyTable = "pebble: empty table"

func (h *health) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: h.report,
		FlushEnd: func(i pebble.FlushInfo) {
			if i.Err == nil || i.Err.Error() == emptyTable {
				h.report(nil)
			}
		},
		CompactionEnd: func(i pebble.CompactionInfo) {
			if i.Err == nil {
				h.report(nil)
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) { _ = h.fail(fmt.Errorf("%s: %w", i.Path, i.Details)) },
	}
}

// Infof implements pebble.Logger.
func (*health) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (h *health) Errorf(format string, args ...any) {
	h.log.Warn("the local store: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger and returns (R8). Pebble's code behind it goes on and hands its error up; what it might
// still write, from a state that it knows to be wrong, the gate refuses.
func (h *health) Fatalf(format string, args ...any) {
	cause := fmt.Errorf(format, args...)
	for _, a := range args {
		if err, ok := a.(error); ok {
			cause = err
		}
	}
	_ = h.fail(cause)
}

func corrupt(err error) error {
	if statestore.IsCorrupt(err) {
		return err
	}
	return fmt.Errorf("%w: %w", statestore.ErrCorrupt, err)
}

// isDamage reports whether err says that the files are not what the store wrote: of one that was cut, Pebble hands up the
// end that a read met.
func isDamage(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, os.ErrNotExist) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// classify gives an error of Pebble's the meaning that the statestore's callers look for.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrClosed):
		return statestore.ErrClosed
	case isDamage(err):
		return corrupt(err)
	}
	return err
}

// classifyOpen does so for an error of Open, where what the operating system has not refused the files have: a version
// that is not known, a manifest that makes no sense.
func classifyOpen(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return corrupt(err)
}
