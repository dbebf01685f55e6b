//go:build unix

package bench

import (
	"runtime"
	"syscall"
)

// peakBytes is the most memory that this process held at a time, 0 if that is not known.
func peakBytes() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss) // in bytes there
	}
	return int64(u.Maxrss) << 10
}
