package restore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/statestore"
)

const (
	// followPause is how long a standby waits at the changelog's end.
	followPause = 500 * time.Millisecond
	// followRefresh is how often its position is written while nothing comes, so that it does not grow old (R7).
	followRefresh = time.Minute
)

// Follow keeps a warm copy of a partition that another member owns, until ctx is done: the restore, without an end. It
// returns nil then, else a *MismatchError or an error of the store. progress is told the records read since the last call.
func Follow(ctx context.Context, cfg Config, partition int32, progress func(records int64)) error {
	for {
		err := follow(ctx, cfg, partition, progress)
		switch mismatch := (*MismatchError)(nil); {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &mismatch), statestore.IsUnusable(err):
			return err
		}
		cfg.Logger.Warn("a standby starts over", "partition", partition, "error", err)
		if err := wait(ctx, retryMax); err != nil {
			return nil
		}
	}
}

func follow(ctx context.Context, cfg Config, partition int32, progress func(int64)) error {
	r := newRun(cfg, partition)
	inputs, mark, err := r.marked(ctx)
	if err != nil {
		return err
	}
	at, err := r.local(ctx, cfg.Identity(mark.Incarnation))
	if err != nil {
		return err
	}
	at.Inputs = inputs
	written := time.Now()
	for {
		before, began := r.restored, time.Now()
		for state := range cfg.Changelogs {
			if err := r.changelog(ctx, state, &at); err != nil {
				return err
			}
		}
		if why := r.aged(at); why != "" {
			return errors.Join(fmt.Errorf("the copy is wiped: %s", why), r.wipe())
		}
		at.Time, r.age, r.found = began.UnixMilli(), 0, began
		progress(r.restored - before)
		if r.restored != before || time.Since(written) > followRefresh {
			written = began
			if err := r.touch(at); err != nil {
				return err
			}
		}
		if err := wait(ctx, followPause); err != nil {
			return err
		}
	}
}

// marked waits until the owner has committed an offset of every input, with the mark of this form of the application.
func (r *run) marked(ctx context.Context) ([]int64, Mark, error) {
	offsets := make([]int64, len(r.Inputs))
	var mark Mark
	for i, topic := range r.Inputs {
		for {
			c, err := r.committed(ctx, topic)
			if err != nil {
				return nil, mark, err
			}
			if c.Offset >= 0 {
				if mark, err = r.checkMark(topic, c); err != nil {
					return nil, mark, err
				}
				if mark.current(c.Metadata, r.Mark(mark.Incarnation)) {
					offsets[i] = c.Offset
					break
				}
			}
			if err := wait(ctx, followPause); err != nil {
				return nil, mark, err
			}
		}
	}
	return offsets, mark, nil
}

// touch writes the position again, with the time at which the changelog's end was seen.
func (r *run) touch(at task.Position) error {
	var b statestore.Batch
	task.WritePosition(&b, r.partition, at)
	return r.Store.Apply(&b)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
