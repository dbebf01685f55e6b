package deposits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Bounds of the loop.
const (
	// batchRecords is the most that one write covers; what the topic holds under load fills it.
	batchRecords = 20_000
	// tick is how long a poll waits, so that what is due by time is done.
	tick = time.Second
	// progressInterval is how often progress alone is stored, where no session closes.
	progressInterval = 5 * time.Second
	// reportInterval is how often the log says what was stored.
	reportInterval = 10 * time.Second
)

// turn polls once and stores what came.
func (c *consumer) turn(ctx context.Context) error {
	poll, cancel := context.WithTimeout(ctx, tick)
	fetches := c.cl.PollRecords(poll, batchRecords)
	cancel()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range fetches.Errors() {
		if err := c.explain(ctx, e); err != nil {
			return err
		}
	}
	fault := c.read(fetches)
	if fault != nil {
		c.wrote = time.Time{} // what came before it is stored
	}
	if err := c.write(ctx); err != nil || fault != nil {
		return errors.Join(fault, err)
	}
	c.Metrics.look(&c.claims)
	if time.Since(c.looked) < identityInterval {
		return nil
	}
	c.looked = time.Now()
	return c.look(ctx)
}

// read decodes the records of a poll and moves the positions, up to a record at fault.
func (c *consumer) read(fetches kgo.Fetches) error {
	c.deposits = c.deposits[:0]
	var fault error
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		at := c.claims.get(f.Partition)
		if at == nil || fault != nil {
			return
		}
		at.end = f.LastStableOffset
		for _, r := range f.Records {
			if r.Offset < at.read {
				fault = Unavailable(fmt.Errorf("topic %s partition %d: offset %d came after %d", c.Topic, f.Partition, r.Offset, at.read-1))
				return
			}
			if !r.Attrs.IsControl() {
				d, closing, err := c.decode.read(r)
				if err != nil {
					fault = err
					return
				}
				if closing {
					c.deposits = append(c.deposits, d)
				}
			}
			at.read = r.Offset + 1
		}
	})
	return fault
}

// write stores the deposits of a poll at once, and progress without any from time to time.
func (c *consumer) write(ctx context.Context) error {
	if len(c.deposits) == 0 && time.Since(c.wrote) < progressInterval {
		return nil
	}
	c.wrote = time.Now()
	b := &Batch{Source: c.source, Owner: c.Owner, Deposits: c.deposits, Progress: map[int32]Progress{}}
	c.claims.each(func(partition int32, p *position) {
		if p.read > p.stored {
			b.Progress[partition] = Progress{First: p.stored, Next: p.read, Epoch: p.epoch}
		}
	})
	if len(b.Progress) > 0 {
		began := time.Now()
		if err := c.Sink.Write(ctx, b); err != nil {
			return err
		}
		c.Metrics.wrote(b, time.Since(began))
		c.note(b)
	}
	c.report()
	return nil
}

// note keeps what is stored.
func (c *consumer) note(b *Batch) {
	marks := map[int32]kgo.EpochOffset{}
	for partition, p := range b.Progress {
		marks[partition] = kgo.EpochOffset{Epoch: -1, Offset: p.Next}
		if at := c.claims.get(partition); at != nil && at.epoch == p.Epoch {
			at.stored = p.Next
		}
	}
	c.cl.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{c.Topic: marks})
	c.stored += len(b.Deposits)
}

func (c *consumer) report() {
	passed := time.Since(c.told)
	if passed < reportInterval || c.stored == 0 {
		return
	}
	var behind int64
	c.claims.each(func(_ int32, p *position) { behind += max(0, p.end-p.stored) })
	c.Logger.Info("stored", "deposits", c.stored, "per_second", int(float64(c.stored)/passed.Seconds()), "records_behind", behind)
	c.told, c.stored = time.Now(), 0
}
