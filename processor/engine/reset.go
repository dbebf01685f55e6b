package engine

import (
	"context"
	"errors"
	"time"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/reset"
	"github.com/penstock/penstock/processor/internal/topology"
)

// ResetPoint is where a reset application begins. The zero value is the start of its inputs.
type ResetPoint = reset.Point

// ResetPlan is what a reset does; see its JSON.
type ResetPlan = reset.Plan

// ErrLive says that an application cannot be reset, since it has live members.
var ErrLive = reset.ErrLive

// PlanReset finds out what [Reset] would do, and changes nothing.
func PlanReset(ctx context.Context, app *processor.App, cfg Config, to ResetPoint) (plan *ResetPlan, err error) {
	err = withCluster(ctx, app, cfg, func(c *broker.Cluster, t *topology.Topology, cfg Config) error {
		plan, err = reset.Inspect(ctx, reset.Config{Cluster: c, Topology: t, To: to})
		return err
	})
	return plan, err
}

// Reset drops an application's state, wherever a copy of it lies, and sets its offsets (R14). It refuses with [ErrLive]
// while members live. After an error or a crash at any point, repeat it: until it has ended, Run refuses.
func Reset(ctx context.Context, app *processor.App, cfg Config, to ResetPoint) (plan *ResetPlan, err error) {
	err = withCluster(ctx, app, cfg, func(c *broker.Cluster, t *topology.Topology, cfg Config) error {
		plan, err = reset.Execute(ctx, reset.Config{Cluster: c, Topology: t, To: to, Logger: cfg.Logger,
			TransactionTimeout: max(cfg.TransactionTimeout, time.Second), Step: cfg.resetStep})
		return err
	})
	return plan, err
}

// withCluster connects for a task that is not a run.
func withCluster(ctx context.Context, app *processor.App, cfg Config, fn func(*broker.Cluster, *topology.Topology, Config) error) error {
	topo, err := app.Topology()
	if err = errors.Join(err, cfg.Validate()); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	cluster, err := broker.Connect(reach, cfg.broker(topo.ID+"-admin"))
	if err != nil {
		return err
	}
	defer cluster.Close()
	return fn(cluster, topo, cfg)
}
