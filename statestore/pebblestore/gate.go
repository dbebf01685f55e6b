package pebblestore

import (
	"io"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/penstock/penstock/statestore"
)

// retryPause is how long a write to a full disk, or to a failed store, waits before it says so. Pebble tries a failed
// flush again at once, for ever.
var retryPause = 100 * time.Millisecond // shorter in tests

// gate is a file system on which a failed store writes nothing more.
type gate struct {
	vfs.FS
	health *health
}

// enter returns the store's failure.
func (g *gate) enter() error {
	err := g.health.failure()
	if err != nil {
		g.pause()
	}
	return err
}

// leave passes err on, late where the disk is full.
func (g *gate) leave(err error) error {
	if err != nil && statestore.IsNoSpace(err) {
		g.pause()
	}
	return err
}

func (g *gate) pause() {
	select {
	case <-g.health.closed:
	case <-time.After(retryPause):
	}
}

func (g *gate) do(write func() error) error {
	if err := g.enter(); err != nil {
		return err
	}
	return g.leave(write())
}

func (g *gate) open(create func() (vfs.File, error)) (vfs.File, error) {
	if err := g.enter(); err != nil {
		return nil, err
	}
	f, err := create()
	if err != nil {
		return nil, g.leave(err)
	}
	return &gatedFile{f, g}, nil
}

// Create implements vfs.FS.
func (g *gate) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.open(func() (vfs.File, error) { return g.FS.Create(name, c) })
}

// OpenReadWrite implements vfs.FS.
func (g *gate) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	return g.open(func() (vfs.File, error) { return g.FS.OpenReadWrite(name, c, o...) })
}

// ReuseForWrite implements vfs.FS.
func (g *gate) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return g.open(func() (vfs.File, error) { return g.FS.ReuseForWrite(oldname, newname, c) })
}

// Link implements vfs.FS.
func (g *gate) Link(oldname, newname string) error {
	return g.do(func() error { return g.FS.Link(oldname, newname) })
}

// Rename implements vfs.FS.
func (g *gate) Rename(oldname, newname string) error {
	return g.do(func() error { return g.FS.Rename(oldname, newname) })
}

// Remove implements vfs.FS.
func (g *gate) Remove(name string) error { return g.do(func() error { return g.FS.Remove(name) }) }

// RemoveAll implements vfs.FS.
func (g *gate) RemoveAll(name string) error {
	return g.do(func() error { return g.FS.RemoveAll(name) })
}

// MkdirAll implements vfs.FS.
func (g *gate) MkdirAll(dir string, perm os.FileMode) error {
	return g.do(func() error { return g.FS.MkdirAll(dir, perm) })
}

// Lock implements vfs.FS. The store holds the lock itself, so that it can let go of it whatever Pebble does.
func (g *gate) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// Unwrap implements vfs.FS.
func (g *gate) Unwrap() vfs.FS { return g.FS }

type gatedFile struct {
	vfs.File
	gate *gate
}

// Write implements vfs.File.
func (f *gatedFile) Write(p []byte) (n int, err error) {
	err = f.gate.do(func() error { n, err = f.File.Write(p); return err })
	return n, err
}

// WriteAt implements vfs.File.
func (f *gatedFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.gate.do(func() error { n, err = f.File.WriteAt(p, off); return err })
	return n, err
}

// Preallocate implements vfs.File.
func (f *gatedFile) Preallocate(offset, length int64) error {
	return f.gate.do(func() error { return f.File.Preallocate(offset, length) })
}

// Sync implements vfs.File.
func (f *gatedFile) Sync() error { return f.gate.do(f.File.Sync) }

// SyncData implements vfs.File.
func (f *gatedFile) SyncData() error { return f.gate.do(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f *gatedFile) SyncTo(length int64) (full bool, err error) {
	err = f.gate.do(func() error { full, err = f.File.SyncTo(length); return err })
	return full, err
}
