package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// restart kills a processor that holds many keys, in the middle of its work, and times how soon all its partitions go on:
// with its state kept, and with its store wiped but its identity kept.
func (b *bench) restart(ctx context.Context, r *Report) error {
	if b.cfg.RestartKeys == 0 {
		return nil
	}
	b.cfg.Say("loading %d keys", b.cfg.RestartKeys)
	input := b.name + "-restart"
	if err := b.createTopic(ctx, input, false); err != nil {
		return err
	}
	if err := b.cfg.Load.FillKeys(ctx, b.conn, input, b.cfg.RestartKeys); err != nil {
		return err
	}
	j, err := b.newJob(ctx, kindProcessor, input)
	if err != nil {
		return err
	}
	defer b.discard(j)
	if err := b.hold(ctx, j); err != nil {
		return err
	}
	for _, wipe := range []bool{false, true} {
		seconds, err := b.comeBack(ctx, j, wipe)
		if err != nil {
			return fmt.Errorf("restart: %w", err)
		}
		if wipe {
			r.RestoreSeconds, r.RestoreKeysPerSecond = seconds, float64(b.cfg.RestartKeys)/seconds
			b.cfg.Say("restored after %.2f s, %.0f keys/s", seconds, r.RestoreKeysPerSecond)
			continue
		}
		r.ResumeSeconds = seconds
		b.cfg.Say("resumed after %.2f s", seconds)
	}
	r.RestartKeys = b.cfg.RestartKeys
	if b.cfg.Guarantee != "exactly-once" {
		return nil // a crash may repeat records
	}
	return b.audit(ctx, r, j)
}

// hold lets a job process its input, and kills it while more of it comes.
func (b *bench) hold(ctx context.Context, j *job) error {
	starts, ends, err := b.span(ctx, j.input)
	if err != nil {
		return err
	}
	c, err := b.start(j)
	if err != nil {
		return err
	}
	defer c.kill()
	if _, err := b.watch(ctx, c, starts, total(ends)); err != nil {
		return err
	}
	return b.more(ctx, j)
}

// more sends records of existing keys, to all partitions.
func (b *bench) more(ctx context.Context, j *job) error {
	return b.cfg.Load.FillKeys(ctx, b.conn, j.input, min(b.cfg.RestartKeys, max(1000, 16*b.cfg.Load.Partitions)))
}

// comeBack starts a killed job on records that wait for it, and returns how long it took until each partition's were
// processed. It kills the job again.
func (b *bench) comeBack(ctx context.Context, j *job, wipe bool) (seconds float64, err error) {
	if wipe {
		if err := os.RemoveAll(filepath.Join(j.dir, "store")); err != nil {
			return 0, err
		}
	}
	before, err := kafka.StableEnds(ctx, b.cl, j.output)
	if err != nil {
		return 0, err
	}
	if err := b.more(ctx, j); err != nil {
		return 0, err
	}
	c, err := b.start(j)
	if err != nil {
		return 0, err
	}
	defer c.kill()
	for p := range before {
		before[p]++
	}
	for {
		at, err := kafka.StableEnds(ctx, b.cl, j.output)
		switch {
		case err == nil && at.Reach(before):
			return time.Since(c.began).Seconds(), nil
		case time.Since(c.began) > stalled:
			return 0, fmt.Errorf("not every partition goes on within %v: %w\n%s", stalled, errors.Join(err, c.failure()), c.log)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(progressPoll):
		}
	}
}
