// Package pebblestore is the statestore.Store on Pebble.
package pebblestore

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/statestore"
)

// Options are how a store is opened. The zero value works.
type Options struct {
	// MemoryBytes bounds memtables and block cache together, whatever the number of keys. Default: 32 MiB.
	MemoryBytes int64
	FS          vfs.FS       // default: the operating system's
	Logger      *slog.Logger // default: slog.Default()
}

// maxOpenFiles bounds the file descriptors of a store.
const maxOpenFiles = 128

// Store is a statestore.Store. It has no write-ahead log: the changelog is one, and a Flush writes the memtables out.
type Store struct {
	db         *pebble.DB
	closed     atomic.Bool
	failed     atomic.Pointer[error] // what Pebble would have ended the process for; sticks
	failure    chan struct{}         // closed with it
	background chan error            // errors of flushes and compactions, which Pebble tries again
}

var _ statestore.Store = (*Store)(nil)

// Open opens or creates the store in dir. An error for which statestore.IsCorrupt holds means that it must be rebuilt.
func Open(dir string, o Options) (s *Store, err error) {
	s = &Store{failure: make(chan struct{}), background: make(chan error, 1)}
	defer s.rescue(&err)
	db, err := pebble.Open(dir, s.options(o))
	if err != nil {
		return nil, classifyOpen(err)
	}
	s.db = db
	if err := s.usable(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) options(o Options) *pebble.Options {
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 32 << 20
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	p := &pebble.Options{
		FS:                          o.FS,
		DisableWAL:                  true,
		CacheSize:                   o.MemoryBytes / 2,
		MemTableSize:                uint64(max(1<<20, o.MemoryBytes/8)),
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                maxOpenFiles,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       24,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      &logger{s, o.Logger},
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	p.EventListener = &pebble.EventListener{
		BackgroundError: func(err error) {
			select {
			case s.background <- err:
			default:
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) { s.fail(fmt.Errorf("%s: %w", i.Path, i.Details)) },
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		p.Levels[i].FilterType = pebble.TableFilter
	}
	return p
}

// fail records what makes the store unusable, once.
func (s *Store) fail(cause error) error {
	err := fmt.Errorf("%w: %w", statestore.ErrCorrupt, cause)
	if s.failed.CompareAndSwap(nil, &err) {
		close(s.failure)
	}
	return *s.failed.Load()
}

// logger takes Pebble's messages. After Fatalf Pebble's code goes on and returns an error of its own; the failure sticks,
// so that every later call of the store returns it.
type logger struct {
	s *Store
	l *slog.Logger
}

func (*logger) Infof(string, ...any) {}

func (g *logger) Errorf(format string, args ...any) {
	g.l.Warn("store: " + fmt.Sprintf(format, args...))
}

func (g *logger) Fatalf(format string, args ...any) { _ = g.s.fail(fmt.Errorf(format, args...)) }

// rescue turns a panic of Pebble's into an error that sticks.
func (s *Store) rescue(err *error) {
	if p := recover(); p != nil {
		*err = s.fail(fmt.Errorf("%v", p))
	}
}

// classifyOpen takes what cannot be opened for damaged, unless it is the machine that refuses.
func classifyOpen(err error) error {
	for _, e := range []error{fs.ErrPermission, syscall.EMFILE, syscall.ENFILE, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, e) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", statestore.ErrCorrupt, err)
}

func (s *Store) classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, pebble.ErrClosed):
		return statestore.ErrClosed
	case statestore.IsNoSpace(err):
		return err
	case pebble.IsCorruptionError(err), errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%w: %w", statestore.ErrCorrupt, err)
	}
	return err
}

func (s *Store) usable() error {
	if p := s.failed.Load(); p != nil {
		return *p
	}
	if s.closed.Load() {
		return statestore.ErrClosed
	}
	return nil
}

// Get implements statestore.Store.
func (s *Store) Get(dst, key []byte) (value []byte, ok bool, err error) {
	if err := s.usable(); err != nil {
		return nil, false, err
	}
	defer s.rescue(&err)
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return nil, false, s.classify(err)
	}
	value = append(dst, v...)
	return value, true, s.classify(closer.Close())
}

// Apply implements statestore.Store.
func (s *Store) Apply(b *statestore.Batch) (err error) {
	if err := s.usable(); err != nil {
		return err
	}
	defer s.rescue(&err)
	pb := s.db.NewBatchWithSize(b.Bytes() + 16*b.Len() + 64)
	defer func() { err = errors.Join(err, pb.Close()) }()
	for o := range b.All() {
		switch o.Kind {
		case statestore.OpSet:
			d := pb.SetDeferred(len(o.Key), len(o.Value))
			copy(d.Key, o.Key)
			copy(d.Value, o.Value)
			err = d.Finish()
		case statestore.OpDelete:
			err = pb.Delete(o.Key, nil)
		case statestore.OpDeleteRange:
			err = pb.DeleteRange(o.Key, o.Value, nil)
		}
		if err != nil {
			return s.classify(err)
		}
	}
	return s.classify(pb.Commit(pebble.NoSync))
}

// Scan implements statestore.Store.
func (s *Store) Scan(lower, upper []byte, fn func(key, value []byte) error) (err error) {
	if err := s.usable(); err != nil {
		return err
	}
	defer s.rescue(&err)
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return s.classify(err)
	}
	defer func() { err = errors.Join(err, s.classify(it.Close())) }()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return s.classify(err)
		}
		if err := fn(it.Key(), v); errors.Is(err, statestore.ErrStop) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Flush implements statestore.Store. Where the disk is full it returns that error, and a later Flush may succeed.
func (s *Store) Flush() (err error) {
	if err := s.usable(); err != nil {
		return err
	}
	defer s.rescue(&err)
	return s.flush()
}

func (s *Store) flush() error {
	select {
	case <-s.background: // an older one
	default:
	}
	done, err := s.db.AsyncFlush()
	if err != nil {
		return s.classify(err)
	}
	select {
	case <-done:
		return nil
	case <-s.failure:
		return *s.failed.Load()
	case err := <-s.background:
		return s.classify(err)
	}
}

// closeTimeout bounds the close of a store that failed: its background work may hang.
const closeTimeout = 3 * time.Second

// Close implements statestore.Store. Pebble's own Close would drop memtables that have no write-ahead log.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return statestore.ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer s.rescue(&err)
		if s.failed.Load() == nil {
			err = s.flush()
		}
		err = errors.Join(err, s.classify(s.db.Close()))
	}()
	select {
	case err := <-done:
		return err
	case <-s.failure:
	}
	select {
	case err := <-done:
		return errors.Join(*s.failed.Load(), err)
	case <-time.After(closeTimeout):
		return *s.failed.Load()
	}
}
