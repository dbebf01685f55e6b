package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Limits of the machine.
const (
	minFree  = 1 << 30 // bytes free where the state lies
	minFiles = 4096    // open files
)

// stateDir checks that the directory, or the nearest one above that exists, can be written and has room.
func (d *doctor) stateDir() {
	dir := d.StateDir
	for {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			d.add(Fail, "state directory", fmt.Sprintf("%s is not a directory", dir), "choose another --state-dir")
			return
		}
		if err == nil {
			break
		}
		if up := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && up != dir {
			dir = up
			continue
		}
		d.add(Fail, "state directory", err.Error(), "choose another --state-dir")
		return
	}
	f, err := os.CreateTemp(dir, ".penstock-doctor-*")
	if err == nil {
		err = errors.Join(f.Close(), os.Remove(f.Name()))
	}
	if err != nil {
		d.add(Fail, "state directory", fmt.Sprintf("%s cannot be written: %v", dir, err), "give its owner to the user that runs penstock, or choose another --state-dir")
		return
	}
	free, err := freeBytes(dir)
	switch {
	case err != nil:
		d.add(Warn, "state directory", fmt.Sprintf("%s can be written; free space is not known: %v", d.StateDir, err), "look at it by hand")
	case free < minFree:
		d.add(Warn, "state directory", fmt.Sprintf("%s has %d MiB free", d.StateDir, free>>20), "make room: a full disk stops processing until there is some")
	default:
		d.add(OK, "state directory", fmt.Sprintf("%s can be written, %d MiB free", d.StateDir, free>>20), "")
	}
}

func (d *doctor) files() {
	limit, err := openFiles()
	switch {
	case err != nil:
		d.add(Warn, "open files", fmt.Sprintf("the limit is not known: %v", err), "allow at least 4096")
	case limit < minFiles:
		d.add(Warn, "open files", fmt.Sprintf("at most %d", limit), fmt.Sprintf("allow at least %d (ulimit -n, LimitNOFILE=)", minFiles))
	default:
		d.add(OK, "open files", fmt.Sprintf("at most %d", limit), "")
	}
}
