package deposits

import (
	"testing"
	"time"
)

// LookOften makes the brokers be asked about the topic all the time, until the test ends.
func LookOften(t *testing.T) {
	before := identityInterval
	identityInterval = time.Millisecond
	t.Cleanup(func() { identityInterval = before })
}
