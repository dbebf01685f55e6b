package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// warmUp is how long the rate is held before it counts.
const warmUp = 2 * time.Second

// latency measures floor and processor at a fixed rate, and how soon they have a first output.
func (b *bench) latency(ctx context.Context, r *Report) error {
	if b.cfg.Rate == 0 || b.cfg.LatencyTime == 0 {
		return nil
	}
	for range b.cfg.Runs {
		for _, kind := range []string{kindFloor, kindProcessor} {
			m, err := b.latencyRun(ctx, r, kind)
			if err != nil {
				return fmt.Errorf("%s at %d records/s: %w", kind, b.cfg.Rate, err)
			}
			b.cfg.Say("%-9s at %d/s: p50 %.1f, p99 %.1f, p99.9 %.1f ms, %.2f s to the first output, %.0f commits/s", kind, b.cfg.Rate,
				m.P50Ms, m.P99Ms, m.P999Ms, m.FirstOutputSeconds, m.CommitsPerSecond)
			if kind == kindFloor {
				r.FloorLatencies = append(r.FloorLatencies, m)
			} else {
				r.ProcessorLatencies = append(r.ProcessorLatencies, m)
			}
		}
	}
	return nil
}

func (b *bench) latencyRun(ctx context.Context, r *Report, kind string) (Latency, error) {
	input := fmt.Sprintf("%s-paced-%d", b.name, b.jobs)
	if err := b.createTopic(ctx, input, false); err != nil {
		return Latency{}, err
	}
	defer b.deleteTopics(input)
	j, err := b.newJob(ctx, kind, input)
	if err != nil {
		return Latency{}, err
	}
	defer b.discard(j)
	if err := b.cfg.Load.FillKeys(ctx, b.conn, input, 16*b.cfg.Load.Partitions); err != nil {
		return Latency{}, err
	}
	if kind == kindProcessor {
		if err := b.introduce(ctx, j); err != nil {
			return Latency{}, err
		}
	}
	m, err := b.paced(ctx, j)
	if err != nil || kind == kindFloor {
		return m, err
	}
	return m, b.audit(ctx, r, j)
}

// introduce starts a job and stops it: its topics, its group and its store are there from then on.
func (b *bench) introduce(ctx context.Context, j *job) error {
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
	if _, err = c.stop(); err != nil {
		return err
	}
	return b.cfg.Load.FillKeys(ctx, b.conn, j.input, 16*b.cfg.Load.Partitions)
}

// paced starts a job, times its first output, and then sends records at the fixed rate.
func (b *bench) paced(ctx context.Context, j *job) (Latency, error) {
	from, err := kafka.StableEnds(ctx, b.cl, j.output)
	if err != nil {
		return Latency{}, err
	}
	reader, err := b.conn.NewReader(ctx, j.output, from)
	if err != nil {
		return Latency{}, err
	}
	defer reader.Close()
	p, err := newProducer(ctx, b.conn, j.input, 0)
	if err != nil {
		return Latency{}, err
	}
	defer p.cl.Close()
	c, err := b.start(j)
	if err != nil {
		return Latency{}, err
	}
	defer c.kill()
	m := Latency{}
	first, cancel := context.WithTimeout(ctx, stalled)
	defer cancel()
	if err := reader.Poll(first, func(*kgo.Record) {}); err != nil {
		return m, fmt.Errorf("no first output: %w\n%s", errors.Join(err, c.failure()), c.log)
	}
	m.FirstOutputSeconds = time.Since(c.began).Seconds()
	f := newFlight(b.cfg.Updates == "every" || j.kind == kindFloor)
	commits := c.commitsOf(j)
	if err := b.fly(ctx, f, reader, p); err != nil {
		return m, fmt.Errorf("%w\n%s", errors.Join(err, c.failure()), c.log)
	}
	if j.kind == kindProcessor {
		m.CommitsPerSecond = float64(c.commits()-commits) / (warmUp + b.cfg.LatencyTime).Seconds()
	}
	e, err := c.stop()
	if err != nil {
		return m, err
	}
	if j.kind == kindFloor {
		m.CommitsPerSecond = float64(e.Transactions) / (warmUp + b.cfg.LatencyTime).Seconds()
	}
	m.CPUSecondsPerSecond = c.cpu().Seconds() / time.Since(c.began).Seconds()
	m.measure(f.delays)
	return m, nil
}

func (c *child) commitsOf(j *job) int64 {
	if j.kind == kindFloor {
		return 0
	}
	return c.commits()
}

// fly sends records at the rate and takes the time of their results.
func (b *bench) fly(ctx context.Context, f *flight, reader *kafka.Reader, p *producer) error {
	g, ctx := errgroup.WithContext(ctx)
	receive, landed := context.WithCancel(ctx)
	g.Go(func() error {
		for {
			err := reader.Poll(receive, func(r *kgo.Record) { f.land(r, time.Now()) })
			if receive.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return err
			}
		}
	})
	g.Go(func() error {
		defer landed()
		if err := b.sendPaced(ctx, f, p); err != nil {
			return err
		}
		return f.await(ctx)
	})
	return g.Wait()
}

// sendPaced keeps to the rate; a record is due at its time whether or not the ones before it were sent late.
func (b *bench) sendPaced(ctx context.Context, f *flight, p *producer) error {
	g := b.cfg.Load.generator()
	began := time.Now()
	f.counts = began.Add(warmUp)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	n := int(float64(b.cfg.Rate) * (warmUp + b.cfg.LatencyTime).Seconds())
	for sent := 0; sent < n; {
		due := min(n, int(time.Since(began).Seconds()*float64(b.cfg.Rate)))
		for ; sent < due; sent++ {
			p.send(ctx, b.cfg.Load.room(), func(dst []byte) ([]byte, int) {
				out, key := g.next(dst)
				f.depart(out[len(dst):len(dst)+key], time.Now())
				return out, key
			})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return p.flush(ctx)
}

// flight knows when each record was sent. Results of a key come in the order of its records, one for each where every
// transaction has one; else a result's own time stamp, in milliseconds, must do.
type flight struct {
	each   bool
	counts time.Time // what is sent before is not measured

	mu     sync.Mutex
	sent   map[string][]time.Time
	under  int // way
	delays []time.Duration
}

func newFlight(each bool) *flight { return &flight{each: each, sent: map[string][]time.Time{}} }

func (f *flight) depart(key []byte, now time.Time) {
	if !f.each {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent[string(key)] = append(f.sent[string(key)], now)
	f.under++
}

func (f *flight) land(r *kgo.Record, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := r.Timestamp
	if f.each {
		queue := f.sent[string(r.Key)]
		if len(queue) == 0 {
			return // from before
		}
		sent = queue[0]
		f.sent[string(r.Key)] = queue[1:]
		f.under--
	}
	if !f.counts.IsZero() && sent.After(f.counts) {
		f.delays = append(f.delays, now.Sub(sent))
	}
}

// await waits for the results that are still under way.
func (f *flight) await(ctx context.Context) error {
	deadline := time.Now().Add(stalled)
	for time.Now().Before(deadline) {
		f.mu.Lock()
		n := f.under
		f.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(progressPoll):
		}
	}
	return fmt.Errorf("%d results have not come within %v", f.under, stalled)
}

func (m *Latency) measure(delays []time.Duration) {
	if len(delays) == 0 {
		return
	}
	slices.Sort(delays)
	at := func(q float64) float64 {
		return float64(delays[min(len(delays)-1, int(q*float64(len(delays))))].Microseconds()) / 1000
	}
	m.P50Ms, m.P99Ms, m.P999Ms, m.MaxMs = at(0.5), at(0.99), at(0.999), at(1)
}
