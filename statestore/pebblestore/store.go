// Package pebblestore is the statestore.Store on Pebble.
package pebblestore

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/penstock/penstock/statestore"
)

// Store is a statestore.Store. It has no write-ahead log: the changelog is one, and a Flush writes the memtables out.
//
// An error for which statestore.IsCorrupt holds sticks: close the store, set its directory aside and rebuild. One for
// which statestore.IsNoSpace holds is the call's: nothing of the batch was applied, or nothing is lost of what was, and
// the call may be repeated. Where it is statestore.ErrReopen too it sticks, since the disk filled up while Pebble's manifest
// was written: close and open the store, which then holds a prefix of what was applied. Any other error is the operating
// system's; the call may be repeated too.
type Store struct {
	db     *pebble.DB
	dir    string
	opts   Options
	lock   io.Closer
	health *health

	mu     sync.RWMutex // closed, and that calls rises only while it is false
	closed bool
	calls  sync.WaitGroup // of other methods, which Close waits for

	admission sync.Mutex
	admitted  int64 // bytes applied since the memtables were last measured
}

var _ statestore.Store = (*Store)(nil)

// Open opens or creates the store in dir. An error for which statestore.IsCorrupt holds means that it must be rebuilt.
func Open(dir string, o Options) (_ *Store, err error) {
	o = o.withDefaults()
	s := &Store{dir: dir, opts: o, health: newHealth(o.Logger)}
	if err := o.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the store's directory: %w", err)
	}
	s.lock, err = o.FS.Lock(o.FS.PathJoin(dir, "LOCK"))
	if err != nil {
		return nil, fmt.Errorf("lock the store in %s: %w", dir, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.lock.Close())
		}
	}()
	defer s.rescue(&err)
	if err := s.roomToOpen(); err != nil {
		return nil, err
	}
	if err := s.dropLogs(); err != nil {
		return nil, err
	}
	if s.db, err = pebble.Open(dir, o.pebble(s.health)); err != nil {
		return nil, classifyOpen(err)
	}
	if err := s.health.failure(); err != nil {
		return nil, errors.Join(err, s.shut())
	}
	return s, nil
}

// dropLogs deletes the files of the write-ahead log, which is off: they are empty. Pebble would replay them and wait for a
// flush of nothing, on a full disk for ever.
func (s *Store) dropLogs() error {
	files, err := s.opts.FS.List(s.dir)
	if err != nil {
		return fmt.Errorf("list the store's files: %w", err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f, ".log") {
			continue
		}
		if err := s.opts.FS.Remove(s.opts.FS.PathJoin(s.dir, f)); err != nil {
			return fmt.Errorf("delete the empty log %s: %w", f, err)
		}
	}
	return nil
}

// enter begins a call. Each success is followed by one leave.
func (s *Store) enter() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return statestore.ErrClosed
	}
	if err := s.health.failure(); err != nil {
		return err
	}
	s.calls.Add(1)
	return nil
}

func (s *Store) leave(err *error) {
	if p := recover(); p != nil {
		*err = s.health.fail(panicked(p))
	}
	s.calls.Done()
}

// rescue turns a panic of Pebble's into an error that sticks.
func (s *Store) rescue(err *error) {
	if p := recover(); p != nil {
		*err = s.health.fail(panicked(p))
	}
}

func panicked(p any) error {
	if err, ok := p.(error); ok {
		return fmt.Errorf("panic: %w", err)
	}
	return fmt.Errorf("panic: %v", p)
}

// Get implements statestore.Store.
func (s *Store) Get(dst, key []byte) (value []byte, ok bool, err error) {
	if err := s.enter(); err != nil {
		return nil, false, err
	}
	defer s.leave(&err)
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return dst, false, nil
	}
	if err != nil {
		return nil, false, classify(err)
	}
	value = append(dst, v...)
	return value, true, classify(closer.Close())
}

// GetAll implements statestore.Store. One iterator looks for all keys: tables stay open from key to key, and a block that
// holds several of them is read once.
func (s *Store) GetAll(keys *statestore.Keys, fn func(key, value []byte, ok bool) error) error {
	return s.read(nil, fn, func(it *pebble.Iterator, visit visitor) error {
		for key := range keys.Sorted() {
			var value []byte
			ok := it.SeekPrefixGE(key) // the whole key is its prefix
			if err := it.Error(); err != nil {
				return classify(err)
			}
			if ok {
				var err error
				if value, err = it.ValueAndErr(); err != nil {
					return classify(err)
				}
			}
			if err := visit(key, value, ok); err != nil {
				return err
			}
		}
		return nil
	})
}

// Scan implements statestore.Store. It sees the store as it was when Scan was called, and holds the memory of what was
// replaced meanwhile.
func (s *Store) Scan(lower, upper []byte, fn func(key, value []byte) error) error {
	o := &pebble.IterOptions{LowerBound: lower, UpperBound: upper}
	each := func(key, value []byte, _ bool) error { return fn(key, value) }
	return s.read(o, each, func(it *pebble.Iterator, visit visitor) error {
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				return classify(err)
			}
			if err := visit(it.Key(), value, true); err != nil {
				return err
			}
		}
		return nil // an iterator's error is its Close's too
	})
}

type visitor = func(key, value []byte, ok bool) error

// read opens an iterator for loop, which hands what it finds to fn by way of visit. A panic of Pebble's becomes an error
// that sticks; one of fn's is the caller's.
func (s *Store) read(o *pebble.IterOptions, fn visitor, loop func(it *pebble.Iterator, visit visitor) error) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	outside := false
	defer func() {
		defer s.calls.Done()
		if outside {
			return
		}
		if p := recover(); p != nil {
			err = s.health.fail(panicked(p))
		}
	}()
	it, err := s.db.NewIter(o)
	if err != nil {
		return classify(err)
	}
	defer func() {
		if closed := classify(it.Close()); err == nil {
			err = closed
		}
	}()
	err = loop(it, func(key, value []byte, ok bool) error {
		outside = true
		err := fn(key, value, ok)
		outside = false
		return err
	})
	if errors.Is(err, statestore.ErrStop) {
		return nil
	}
	return err
}

// Flush implements statestore.Store.
func (s *Store) Flush() (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave(&err)
	return s.flush()
}

// flush waits for the memtables to be written, or for the first error of the background work: Pebble's own Flush would
// wait on a full disk for ever. What was not written stays in memory and is tried again.
func (s *Store) flush() error {
	if err := s.settle(); err != nil {
		return err
	}
	changed, _ := s.health.watch()
	done, err := s.db.AsyncFlush()
	if err != nil {
		return classify(err)
	}
	for {
		select {
		case <-done:
			return nil
		case <-s.health.failed:
			return s.health.failure()
		case <-changed:
		}
		var trouble error
		if changed, trouble = s.health.watch(); trouble != nil {
			return classify(trouble)
		}
	}
}

// settle waits for the next attempt where the last write failed, and returns its error. Asking for a flush again would
// put one more memtable behind those that wait. Where no attempt is heard of, none is waited for.
func (s *Store) settle() error {
	changed, trouble := s.health.watch()
	if trouble == nil {
		return nil
	}
	select {
	case <-changed:
		_, trouble = s.health.watch()
		return classify(trouble)
	case <-s.health.failed:
		return s.health.failure()
	case <-time.After(settleTimeout):
		return nil
	}
}

// settleTimeout is longer than the pause between two attempts.
const settleTimeout = 500 * time.Millisecond

// closeTimeout bounds the close of a store that failed: a lock may have stayed locked where Pebble panicked.
const closeTimeout = 3 * time.Second

// Close implements statestore.Store. It waits for calls under way.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return statestore.ErrClosed
	}
	s.closed = true
	s.mu.Unlock()
	close(s.health.closed)
	s.calls.Wait()
	return errors.Join(s.shut(), s.lock.Close())
}

// shut flushes and closes Pebble, whose own Close drops memtables that have no write-ahead log.
func (s *Store) shut() error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer s.rescue(&err)
		if err = s.health.failure(); err == nil {
			err = s.flush()
		}
		if closeErr := classify(s.db.Close()); err == nil {
			err = closeErr
		}
	}()
	select {
	case err := <-done:
		return err
	case <-s.health.failed:
	}
	select {
	case err := <-done:
		return err
	case <-time.After(closeTimeout):
		return s.health.failure()
	}
}
