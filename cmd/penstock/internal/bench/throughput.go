package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Limits of waiting.
const (
	progressPoll = 10 * time.Millisecond
	stalled      = 60 * time.Second // without progress
)

// sample is how far a job was when.
type sample struct {
	at time.Time
	n  int64
}

// race lets a job process the whole input.
func (b *bench) race(ctx context.Context, j *job) (Throughput, error) {
	starts, ends, err := b.span(ctx, j.input)
	if err != nil {
		return Throughput{}, err
	}
	c, err := b.start(j)
	if err != nil {
		return Throughput{}, err
	}
	defer c.kill()
	samples, err := b.watch(ctx, c, starts, total(ends))
	if err != nil {
		return Throughput{}, err
	}
	commits := int64(0)
	if j.kind == kindProcessor {
		commits = c.commits()
	}
	e, err := c.stop()
	if err != nil {
		return Throughput{}, err
	}
	n := float64(total(ends))
	last := samples[len(samples)-1]
	m := Throughput{
		RecordsPerSecond:           n / last.at.Sub(c.began).Seconds(),
		RecordsPerSecondSecondHalf: n / 2 / last.at.Sub(crossed(samples, n/2)).Seconds(),
		CPUSecondsPerMillion:       c.cpu().Seconds() / n * 1e6,
		PeakRSSMiB:                 mib(e.PeakBytes),
		DiskBytesPerRecord:         float64(e.DiskBytes) / n,
		Commits:                    commits + e.Transactions,
	}
	sizes := b.sizes(ctx, j.output, j.changelog)
	m.OutputBytesPerRecord = float64(sizes[j.output]) / n
	m.ChangelogBytesPerRecord = float64(sizes[j.changelog]) / n
	m.KafkaBytesPerRecord = m.OutputBytesPerRecord + m.ChangelogBytesPerRecord
	return m, nil
}

// span is the input's first and last offsets.
func (b *bench) span(ctx context.Context, input string) (starts, ends kafka.Ends, err error) {
	if starts, err = kafka.Starts(ctx, b.cl, input); err == nil {
		ends, err = kafka.StableEnds(ctx, b.cl, input)
	}
	return starts, ends, err
}

// watch notes the progress of a process until it has reached target.
func (b *bench) watch(ctx context.Context, c *child, starts kafka.Ends, target int64) ([]sample, error) {
	samples := []sample{{c.began, 0}}
	for {
		n, err := b.processed(ctx, c.job, starts)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		now, last := time.Now(), samples[len(samples)-1]
		if err == nil && n > last.n {
			samples = append(samples, sample{now, n})
			if n >= target {
				return samples, nil
			}
		} else if now.Sub(last.at) > stalled {
			return nil, fmt.Errorf("%d of %d records are processed, none within %v (%v)\n%s", last.n, target, stalled, err, c.log)
		}
		if err := c.failure(); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(progressPoll):
		}
	}
}

// crossed is when n records were processed, on a straight line between the samples around.
func crossed(samples []sample, n float64) time.Time {
	for i := 1; i < len(samples); i++ {
		a, b := samples[i-1], samples[i]
		if float64(b.n) >= n {
			part := (n - float64(a.n)) / float64(b.n-a.n)
			return a.at.Add(time.Duration(part * float64(b.at.Sub(a.at))))
		}
	}
	return samples[len(samples)-1].at
}
