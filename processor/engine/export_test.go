package engine

import (
	"time"

	"github.com/penstock/penstock/processor/internal/reset"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore/pebblestore"
)

// WithResetStep returns c with a function that is called after each step of a reset; its error is the step's.
func (c Config) WithResetStep(step func(reset.Step) error) Config {
	c.resetStep = step
	return c
}

// WithStep returns c with a function that is called at each step of the workers; its error is the step's.
func (c Config) WithStep(step func(worker.Step) error) Config {
	c.step = step
	return c
}

// WithStore returns c with the stores, by application, elsewhere than in the state directory.
func (c Config) WithStore(open func(app string, o pebblestore.Options) (*pebblestore.Store, error)) Config {
	c.openStore = open
	return c
}

// WithTables returns c with the tables' stores elsewhere than in the state directory.
func (c Config) WithTables(open func(topic string, o pebblestore.Options) (*pebblestore.Store, error)) Config {
	c.openTable = open
	return c
}

// WithSmallSteps returns c with a store that is written at every interval, and a restore that reads little at a time.
func (c Config) WithSmallSteps(interval time.Duration, readBytes int32) Config {
	c.flushInterval, c.readBytes = interval, readBytes
	return c
}

// WithPurge returns c with repartition topics whose processed records are deleted at every interval, from an age on.
func (c Config) WithPurge(interval, age time.Duration) Config {
	c.purgeInterval, c.purgeAge = interval, age
	return c
}
