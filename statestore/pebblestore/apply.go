package pebblestore

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/statestore"
)

// entryOverhead is about what a batch and a memtable add to an operation's bytes.
const entryOverhead = 64

// Apply implements statestore.Store. It waits while more is applied than is written out, and returns an error for which
// statestore.IsNoSpace holds, with nothing applied, while the disk is full.
func (s *Store) Apply(b *statestore.Batch) (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave(&err)
	if err := s.admit(int64(b.Bytes() + entryOverhead*b.Len())); err != nil {
		return err
	}
	p := s.db.NewBatchWithSize(b.Bytes() + 16*b.Len() + 64)
	defer func() { err = errors.Join(err, classify(p.Close())) }()
	for o := range b.All() {
		switch o.Kind {
		case statestore.OpSet:
			d := p.SetDeferred(len(o.Key), len(o.Value))
			copy(d.Key, o.Key)
			copy(d.Value, o.Value)
			err = d.Finish()
		case statestore.OpDelete:
			err = p.Delete(o.Key, nil)
		case statestore.OpDeleteRange:
			err = p.DeleteRange(o.Key, o.Value, nil)
		}
		if err != nil {
			return classify(err)
		}
	}
	return classify(p.Commit(pebble.NoSync))
}

// admit waits until size more bytes are within the bounds of memory and of level 0. Measuring costs a walk over the
// levels, so it is done once in an eighth of that memory.
func (s *Store) admit(size int64) error {
	s.admission.Lock()
	defer s.admission.Unlock()
	if err := s.settle(); err != nil {
		return err
	}
	s.admitted += size
	if s.admitted < s.opts.memtables()/8 {
		return nil
	}
	if err := s.room(size); err != nil {
		s.admitted -= size
		return err
	}
	for {
		changed, _ := s.health.watch()
		m := s.db.Metrics()
		if int64(m.MemTable.Size) <= s.opts.memtables() && m.Levels[0].Sublevels < maxSublevels {
			s.admitted = 0
			return nil
		}
		select {
		case <-changed:
		case <-s.health.closed:
			return statestore.ErrClosed
		case <-s.health.failed:
			return s.health.failure()
		}
		if _, trouble := s.health.watch(); trouble != nil {
			return classify(trouble)
		}
	}
}

// spareBytes is what the store leaves free on its disk, beside its memtables: enough for a manifest, whose torn write
// would need the store to be opened again.
const spareBytes = 4 << 20

// room returns an error for which statestore.IsNoSpace holds while the disk has no room to flush all that is in memory.
func (s *Store) room(size int64) error { return s.free(s.opts.memtables() + size + spareBytes) }

// roomToOpen does so while it has no room for a manifest and what else a start writes.
func (s *Store) roomToOpen() error { return s.free(spareBytes) }

// free returns an error for which statestore.IsNoSpace holds while the disk has less than so many bytes free, where it tells.
func (s *Store) free(need int64) error {
	usage, err := s.opts.FS.GetDiskUsage(s.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return classify(err)
	}
	if usage.AvailBytes < uint64(need) {
		return fmt.Errorf("the disk of %s has %d bytes free, the store needs %d: %w", s.dir, usage.AvailBytes, need, syscall.ENOSPC)
	}
	return nil
}
