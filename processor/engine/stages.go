package engine

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/statedir"
	"github.com/penstock/penstock/processor/internal/topology"
	"golang.org/x/sync/errgroup"
)

// Run runs an App until ctx is done: it then finishes its transactions, leaves the group and returns nil. It returns an
// error for a fault that a person must see to; what the brokers do meanwhile is waited for. All its goroutines have ended
// when it returns.
//
// The inputs of [processor.HandleBy] are given their key by an application each, which runs beside the App in the same
// process, in a group of its own.
func Run(ctx context.Context, app *processor.App, cfg Config) error {
	topo, err := app.Topology()
	if err = errors.Join(err, cfg.Validate()); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	if cfg.StateDir == "" {
		cfg.StateDir = statedir.DefaultPath(topo.ID)
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, before := range topo.Before {
		stage := cfg.stage(before)
		cfg.MemoryBytes = max(leastMemory, cfg.MemoryBytes-stage.MemoryBytes)
		g.Go(func() error { return runOne(ctx, before, stage) })
	}
	g.Go(func() error { return runOne(ctx, topo, cfg) })
	return g.Wait()
}

// leastMemory is what an application without state makes do with, in bytes, and any must have.
const leastMemory = 16 << 20

// stage is how an application runs that fills an internal topic. It keeps nothing but its name in the directory.
func (c Config) stage(t *topology.Topology) Config {
	c.StateDir = filepath.Join(c.StateDir, t.ID)
	c.MemoryBytes = leastMemory
	c.Standby, c.Queries, c.Advertise, c.Ready = 0, nil, "", nil
	c.Monitor = c.Monitor.stage(t.ID)
	return c
}
