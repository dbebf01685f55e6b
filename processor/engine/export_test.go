package engine

import (
	"github.com/penstock/penstock/processor/internal/reset"
	"github.com/penstock/penstock/processor/internal/worker"
)

// WithResetStep returns c with a function that is called after each step of a reset; its error is the step's.
func (c Config) WithResetStep(step func(reset.Step) error) Config {
	c.resetStep = step
	return c
}

// WithStep returns c with a function that is called after each step of each commit; its error is the step's.
func (c Config) WithStep(step func(worker.Step) error) Config {
	c.step = step
	return c
}
