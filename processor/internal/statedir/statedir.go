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
	"slices"
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
	holder := "another process"
	if e.PID != 0 {
		holder = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("state directory %s is in use by %s: stop it, or give each process its own --state-dir", e.Path, holder)
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

// Open creates the directory where it is missing and locks it for the life of the process. The lock is the operating
// system's: none is left behind by a crash. A directory of another application is not touched.
func Open(path, app string) (*Dir, error) {
	d := &Dir{path: path}
	if err := d.load(app); err != nil { // before the lock: whose it is says more than who runs in it
		return nil, err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create state directory %s: %w", path, err)
	}
	d.lock = flock.New(d.lockPath(), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	ok, err := d.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock state directory %s: %w", path, err)
	}
	if !ok {
		return nil, &LockedError{path, d.holder()}
	}
	if err := d.claim(app); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// claim writes who holds the directory, and an identity where there is none.
func (d *Dir) claim(app string) error {
	if err := os.WriteFile(d.lockPath(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the holder of the state directory: %w", err)
	}
	if err := d.load(app); err != nil {
		return err
	}
	if d.identity.Instance != "" {
		return nil
	}
	id := make([]byte, 6)
	_, _ = rand.Read(id) // never fails
	return d.SaveIdentity(Identity{App: app, Instance: hex.EncodeToString(id)})
}

func (d *Dir) lockPath() string { return filepath.Join(d.path, "lock") }

func (d *Dir) holder() int {
	raw, _ := os.ReadFile(d.lockPath())
	pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	return pid
}

// Path is where the directory lies.
func (d *Dir) Path() string { return d.path }

// Close releases the directory.
func (d *Dir) Close() error { return d.lock.Unlock() }

// StorePath is where the store lies.
func (d *Dir) StorePath() string { return filepath.Join(d.path, "store") }

// tablesPath is where the tables' stores lie, each by its topic.
func (d *Dir) tablesPath() string { return filepath.Join(d.path, "tables") }

// TablePath is where the store of a table lies.
func (d *Dir) TablePath(topic string) string { return filepath.Join(d.tablesPath(), segment(topic)) }

// DropTable deletes a table's store, which is closed.
func (d *Dir) DropTable(topic string) error { return os.RemoveAll(d.TablePath(topic)) }

// KeepTables deletes the stores of tables that the application has no more.
func (d *Dir) KeepTables(topics []string) error {
	entries, err := os.ReadDir(d.tablesPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list the tables: %w", err)
	}
	for _, e := range entries {
		if slices.ContainsFunc(topics, func(topic string) bool { return segment(topic) == e.Name() }) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(d.tablesPath(), e.Name())); err != nil {
			return fmt.Errorf("delete a table that is no more: %w", err)
		}
	}
	return nil
}

// asidePrefix and a number that rises name a store that was set aside.
const asidePrefix = "store.bad-"

// SetAside moves a closed, damaged store out of the way, for a look at it later, and returns where it is. Older ones are
// deleted. Without a store it does nothing and returns "".
func (d *Dir) SetAside() (string, error) {
	older, err := filepath.Glob(filepath.Join(d.path, asidePrefix+"*"))
	if err != nil {
		return "", fmt.Errorf("set the store aside: %w", err)
	}
	last := 0
	for _, o := range older {
		n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Base(o), asidePrefix))
		last = max(last, n)
	}
	aside := filepath.Join(d.path, asidePrefix+strconv.Itoa(last+1))
	if err := os.Rename(d.StorePath(), aside); errors.Is(err, os.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("set the store aside: %w", err)
	}
	for _, o := range older {
		err = errors.Join(err, os.RemoveAll(o))
	}
	return aside, errors.Join(err, d.sync())
}

// Identity returns what the directory knows of this process.
func (d *Dir) Identity() Identity { return d.identity }

func (d *Dir) identityPath() string { return filepath.Join(d.path, "identity.json") }

// load reads the identity, where there is one, and checks that it is the application's.
func (d *Dir) load(app string) error {
	raw, err := os.ReadFile(d.identityPath())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read identity: %w", err)
	}
	var id Identity
	if err = json.Unmarshal(raw, &id); err == nil && (id.Instance == "" || id.App == "" || id.Workers < 0) {
		err = errors.New("app, instance or workers is missing")
	}
	if err != nil {
		return fmt.Errorf("identity file %s is unreadable: restore it, or delete it to join as a new member: %w", d.identityPath(), err)
	}
	if id.App != app {
		return &ForeignError{d.path, id.App, app}
	}
	d.identity = id
	return nil
}

// SaveIdentity replaces the identity file, whole or not at all.
func (d *Dir) SaveIdentity(id Identity) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	if err = d.replace(d.identityPath(), append(raw, '\n')); err != nil {
		return fmt.Errorf("save identity: %w", err)
	}
	d.identity = id
	return nil
}

func (d *Dir) replace(file string, raw []byte) error {
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(part, file); err != nil {
		return err
	}
	return d.sync()
}

// sync makes renames in the directory durable.
func (d *Dir) sync() error {
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
