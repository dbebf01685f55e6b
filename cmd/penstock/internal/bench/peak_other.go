//go:build !unix

package bench

// peakBytes is the most memory that this process held at a time: not known here.
func peakBytes() int64 { return 0 }
