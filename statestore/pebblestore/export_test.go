package pebblestore

import "time"

// SetRetryPause is for tests of full disks, which would wait most of the time.
func SetRetryPause(d time.Duration) { retryPause = d }
