package engine

import "github.com/penstock/penstock/processor/internal/worker"

// WithStep returns c with a function that is called after each step of each commit; its error is the step's.
func (c Config) WithStep(step func(worker.Step) error) Config {
	c.step = step
	return c
}
