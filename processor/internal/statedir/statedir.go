// Package statedir is the state directory of one process: who holds it, whose it is, and where the store lies in it.
package statedir

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// LockedError says that another process holds the directory.
type LockedError struct {
	Path string
	PID  int // 0: unknown
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("state directory %s is in use by process %d: give each process its own --state-dir", e.Path, e.PID)
}

// ForeignError says that the directory is another application's.
type ForeignError struct{ Path, Have, Want string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("state directory %s belongs to application %q, not %q: use another --state-dir", e.Path, e.Have, e.Want)
}

// Identity is what a process keeps of itself over restarts and the loss of its store (R13).
type Identity struct {
	App      string `json:"app"`
	Instance string `json:"instance"` // the static member id
	Workers  int    `json:"workers"`  // highest number of workers ever used
}

// Dir is a state directory that this process holds.
type Dir struct {
	path     string
	lock     *flock.Flock
	identity Identity
}

// DefaultPath is $XDG_STATE_HOME/penstock/APP, by default ~/.local/state/penstock/APP: never a temporary directory, which
// the system may clean under a running program.
func DefaultPath(app string) string {
	base := os.Getenv("XDG_STATE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			home = "."
		}
		base = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(base, "penstock", app)
}

// Open creates the directory where it is missing and locks it for the life of the process. The lock is the operating
// system's: none is left behind by a crash.
func Open(path, app string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create state directory: %w", err)
	}
	file := filepath.Join(path, "lock")
	l := flock.New(file, flock.SetFlag(os.O_CREATE|os.O_RDWR))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock state directory %s: %w", path, err)
	}
	if !ok {
		return nil, &LockedError{path, holder(file)}
	}
	d := &Dir{path: path, lock: l}
	err = os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	if err == nil {
		err = d.load(app)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func holder(file string) int {
	raw, _ := os.ReadFile(file)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	return pid
}

// Close releases the directory.
func (d *Dir) Close() error { return d.lock.Unlock() }

// StorePath is where the store lies.
func (d *Dir) StorePath() string { return filepath.Join(d.path, "store") }

// SetAside moves a damaged store out of the way, for a look at it later; an older one is deleted.
func (d *Dir) SetAside() (string, error) {
	aside := filepath.Join(d.path, "store.damaged")
	if err := os.RemoveAll(aside); err != nil {
		return "", err
	}
	if err := os.Rename(d.StorePath(), aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	return aside, nil
}

// Identity returns what the directory knows of this process.
func (d *Dir) Identity() Identity { return d.identity }

func (d *Dir) identityPath() string { return filepath.Join(d.path, "identity.json") }

func (d *Dir) load(app string) error {
	raw, err := os.ReadFile(d.identityPath())
	if errors.Is(err, os.ErrNotExist) {
		id := make([]byte, 6)
		if _, err := rand.Read(id); err != nil {
			return err
		}
		return d.SaveIdentity(Identity{App: app, Instance: hex.EncodeToString(id)})
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &d.identity); err != nil || d.identity.Instance == "" {
		return fmt.Errorf("identity file %s is unreadable: restore it, or delete it to join as a new member (%w)", d.identityPath(), errors.Join(err))
	}
	if d.identity.App != app {
		return &ForeignError{d.path, d.identity.App, app}
	}
	return nil
}

// SaveIdentity replaces the identity file, whole or not at all.
func (d *Dir) SaveIdentity(id Identity) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return err
	}
	part := d.identityPath() + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(part, d.identityPath())
	}
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	d.identity = id
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
