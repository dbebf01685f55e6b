package deadletters

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/processor/engine"
)

// Replay is what to send again.
type Replay struct {
	Connection *kafka.Connection
	App        string
	Filter     Filter
	Limit      int // letters; 0: all
	MaxReplays int // a letter that was sent so often stays
	DryRun     bool
}

// Result counts letters.
type Result struct {
	Replayed  int `json:"replayed"` // or would be
	Earlier   int `json:"replayedEarlier"`
	Filtered  int `json:"filtered"`
	Truncated int `json:"truncated"` // cannot be replayed
	Looping   int `json:"looping"`   // were replayed as often as is allowed
}

// Limits of a transaction.
const (
	batchLetters       = 500
	batchBytes         = 8 << 20
	transactionTimeout = 30 * time.Second
	// unstableFor is how long another replay's transaction may be open: brokers look for those that timed out every 10 s.
	unstableFor = transactionTimeout + 12*time.Second
)

// Group names the group whose offsets hold the progress, and the transactional id: a second replay at the same time shuts
// out the first.
func Group(app string) string { return Topic(app) + "-replay" }

// Run sends the letters to their inputs, and its progress, in transactions: whatever crashes, and however often it is
// repeated, no letter is sent twice.
func (r Replay) Run(ctx context.Context) (Result, error) {
	s := &sender{Replay: r, progress: map[int32]*progress{}}
	starts, ends, err := bounds(ctx, r.Connection, r.App)
	if err != nil {
		return s.result, err
	}
	if !r.DryRun {
		if err := s.open(ctx, starts, ends); err != nil {
			return s.result, err
		}
		defer s.out.Close()
	}
	if err := s.load(ctx, ends); err != nil {
		return s.result, err
	}
	err = r.Connection.ReadAll(ctx, Topic(r.App), starts, ends, func(rec *kgo.Record) {
		if s.err == nil {
			l := read(rec)
			s.err = s.take(ctx, &l)
		}
	})
	if err = errors.Join(err, s.err); err != nil {
		return s.result, err
	}
	return s.result, s.flush(ctx)
}

type sender struct {
	Replay
	out      *engine.Transactor // nil in a dry run
	progress map[int32]*progress
	batch    []*Letter
	bytes    int // of their keys and values
	taken    int
	result   Result
	err      error
}

// open takes the transactional id over first: it ends what a dead replay left open (and fences a living one).
func (s *sender) open(ctx context.Context, starts, ends kafka.Ends) error {
	var cfg engine.Config
	if err := s.Connection.Configure(&cfg); err != nil {
		return err
	}
	sources := map[string]bool{}
	err := s.Connection.ReadAll(ctx, Topic(s.App), starts, ends, func(rec *kgo.Record) { sources[read(rec).Source.Topic] = true })
	if err != nil {
		return err
	}
	id := Group(s.App)
	s.out, err = engine.NewTransactor(ctx, cfg, engine.TransactorConfig{ID: id, Group: id, Topics: slices.Collect(maps.Keys(sources)), Timeout: transactionTimeout})
	return err
}

// load reads the progress, once it is stable.
func (s *sender) load(ctx context.Context, ends kafka.Ends) error {
	cl, err := s.Connection.Client(ctx)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for began := time.Now(); ; {
		listed, err := adm.FetchOffsetsForTopics(kadm.RequireStable(ctx), Group(s.App), Topic(s.App))
		if errors.Is(err, kerr.GroupIDNotFound) {
			listed, err = nil, nil
		}
		if err == nil {
			err = listed.Error()
		}
		if errors.Is(err, kerr.UnstableOffsetCommit) && time.Since(began) < unstableFor {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("fetch offsets of group %s: %w", Group(s.App), err)
		}
		for p := range ends {
			s.progress[p] = &progress{}
			if at, ok := listed.Lookup(Topic(s.App), p); ok && at.At >= 0 {
				if s.progress[p], err = decode(at.At, at.Metadata); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func (s *sender) take(ctx context.Context, l *Letter) error {
	switch {
	case !s.progress[l.Partition].open(l.Offset):
		s.result.Earlier++
	case !s.Filter.takes(l) || s.Limit > 0 && s.taken >= s.Limit:
		s.result.Filtered++
	case l.Truncated:
		s.result.Truncated++
	case l.Replays >= s.MaxReplays:
		s.result.Looping++
	default:
		s.taken++
		s.batch = append(s.batch, l)
		s.bytes += len(l.Key) + len(l.Value)
		if len(s.batch) == batchLetters || s.bytes >= batchBytes {
			return s.flush(ctx)
		}
	}
	return nil
}

// flush sends the batch and the progress in one transaction.
func (s *sender) flush(ctx context.Context) error {
	if len(s.batch) == 0 {
		return nil
	}
	offsets, err := s.advance()
	if err != nil {
		return err
	}
	if !s.DryRun {
		if err := s.send(ctx, offsets); err != nil {
			return fmt.Errorf("replay of %d letters is not confirmed; repeat it, none is sent twice: %w", len(s.batch), err)
		}
	}
	s.result.Replayed += len(s.batch)
	clear(s.batch)
	s.batch, s.bytes = s.batch[:0], 0
	return nil
}

// advance moves the progress over the batch and returns it as offsets to commit.
func (s *sender) advance() (kadm.Offsets, error) {
	moved := map[int32]*progress{}
	for _, l := range s.batch {
		moved[l.Partition] = s.progress[l.Partition]
		moved[l.Partition].done(l.Offset)
	}
	offsets := kadm.Offsets{}
	for partition, p := range moved {
		text, err := p.encode()
		if err != nil {
			return nil, err
		}
		offsets.Add(kadm.Offset{Topic: Topic(s.App), Partition: partition, At: p.next, LeaderEpoch: -1, Metadata: text})
	}
	return offsets, nil
}

func (s *sender) send(ctx context.Context, offsets kadm.Offsets) error {
	var records []*kgo.Record
	for _, l := range s.batch {
		records = append(records, l.original())
	}
	return s.out.Do(ctx, records, offsets)
}
