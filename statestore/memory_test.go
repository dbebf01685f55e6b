package statestore_test

import (
	"testing"

	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/storetest"
)

// ram is a device whose store is never away.
type ram struct{ m *statestore.Memory }

func (r ram) Open() (statestore.Store, error) {
	r.m.Reopen()
	return r.m, nil
}

func (r ram) Crash() { r.m.Crash() }

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Device { return ram{statestore.NewMemory()} })
}
