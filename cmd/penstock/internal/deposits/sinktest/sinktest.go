// Package sinktest holds what every [deposits.Sink] must do.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/cmd/penstock/internal/deposits"
	"github.com/penstock/penstock/codec/decimal"
)

// Store is an empty store under test.
type Store interface {
	// Open returns one more sink of the store, as another process would have it.
	Open(t *testing.T) deposits.Sink
	// Stored are the deposits in the order of partition and offset.
	Stored(t *testing.T) []deposits.Deposit
}

// Source is that of the suite's deposits.
var Source = deposits.Source{Topic: "updates", TopicID: "0a", ClusterID: "c1", Group: "g"}

// Run checks a kind of store; make returns a new one for each test.
func Run(t *testing.T, make func(t *testing.T) Store) {
	for name, test := range map[string]func(*testing.T, Store){
		"values are kept exactly":                       exactValues,
		"a claim goes on where the last write ended":    claimGoesOn,
		"a claim fences the owner before":               claimFences,
		"a fenced partition takes the whole batch":      allOrNothing,
		"a batch does not begin elsewhere":              noGap,
		"progress without deposits":                     progressAlone,
		"another source is an error and claims nothing": foreignSource,
		"instances start together":                      startTogether,
		"owners in a fight store each offset once":      fight,
	} {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func ready(t *testing.T, s Store) deposits.Sink {
	t.Helper()
	sink := s.Open(t)
	require.NoError(t, sink.Prepare(t.Context()))
	return sink
}

func claimed(t *testing.T, sink deposits.Sink, owner string, begin map[int32]int64) map[int32]deposits.Claim {
	t.Helper()
	c, err := sink.Claim(t.Context(), Source, owner, begin)
	require.NoError(t, err)
	require.Len(t, c, len(begin))
	return c
}

// batch covers one partition, with a deposit at each offset.
func batch(owner string, partition int32, c deposits.Claim, n int64) *deposits.Batch {
	b := &deposits.Batch{Source: Source, Owner: owner,
		Progress: map[int32]deposits.Progress{partition: {First: c.Next, Next: c.Next + n, Epoch: c.Epoch}}}
	for o := c.Next; o < c.Next+n; o++ {
		b.Deposits = append(b.Deposits, deposits.Deposit{Partition: partition, Offset: o, SessionID: fmt.Sprint("s", o),
			Amount: decimal.MustParse("1.50"), Reason: "deposit", ClosedAt: time.UnixMilli(1_700_000_000_123)})
	}
	return b
}

func exactValues(t *testing.T, s Store) {
	sink := ready(t, s)
	c := claimed(t, sink, "a", map[int32]int64{0: 0})[0]
	b := &deposits.Batch{Source: Source, Owner: "a"}
	add := func(id, amount, reason string, at time.Time) {
		b.Deposits = append(b.Deposits, deposits.Deposit{Offset: int64(len(b.Deposits)), SessionID: id,
			Amount: decimal.MustParse(amount), Reason: reason, ClosedAt: at})
	}
	now := time.UnixMilli(1_700_000_000_123)
	for _, id := range []string{"s", " s ", "S", "ü", "u\u0308", "\x00", "a\x00b", "\\N", `\000`, `'";--`, "\n\t\r", "{a,b}", "NULL", "😀", string(make([]byte, 5000))} {
		add(id, "0", "deposit", now)
	}
	for _, amount := range []string{"0.10", "0.1", "-0.01", "100", "100.00", "9999999999999999999", "-9999999999999999999", "0.0000000000000000001", "99999999999999999.99"} {
		add("amount", amount, "idle-timeout", now)
	}
	for _, at := range []time.Time{{}, time.UnixMilli(0), time.UnixMilli(1), time.Date(9999, 12, 31, 23, 59, 59, 999_000_000, time.UTC)} {
		add("time", "1", "", at)
	}
	b.Progress = map[int32]deposits.Progress{0: {First: 0, Next: int64(len(b.Deposits)), Epoch: c.Epoch}}
	require.NoError(t, sink.Write(t.Context(), b))
	equal(t, b.Deposits, s.Stored(t))
}

// equal compares amounts with their scale, and times as instants.
func equal(t *testing.T, want, got []deposits.Deposit) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Amount.String(), got[i].Amount.String(), "deposit %d", i)
		require.Equal(t, want[i].ClosedAt.IsZero(), got[i].ClosedAt.IsZero(), "deposit %d", i)
		require.Equal(t, want[i].ClosedAt.UnixMilli(), got[i].ClosedAt.UnixMilli(), "deposit %d", i)
		w, g := want[i], got[i]
		w.Amount, w.ClosedAt, g.Amount, g.ClosedAt = decimal.Decimal{}, time.Time{}, decimal.Decimal{}, time.Time{}
		require.Equal(t, w, g, "deposit %d", i)
	}
}

func claimGoesOn(t *testing.T, s Store) {
	sink := ready(t, s)
	c := claimed(t, sink, "a", map[int32]int64{0: 5, 1: 7})
	require.Equal(t, int64(5), c[0].Next)
	require.Equal(t, int64(7), c[1].Next)
	require.NoError(t, sink.Write(t.Context(), batch("a", 0, c[0], 3)))
	again := claimed(t, ready(t, s), "b", map[int32]int64{0: 0, 1: 100, 2: 1})
	require.Equal(t, int64(8), again[0].Next)
	require.Equal(t, int64(7), again[1].Next)
	require.Equal(t, int64(1), again[2].Next)
	require.Greater(t, again[0].Epoch, c[0].Epoch)
	require.Len(t, s.Stored(t), 3)
}

func claimFences(t *testing.T, s Store) {
	first, second := ready(t, s), ready(t, s)
	old := claimed(t, first, "a", map[int32]int64{0: 0})[0]
	c := claimed(t, second, "b", map[int32]int64{0: 0})[0]
	require.ErrorIs(t, first.Write(t.Context(), batch("a", 0, old, 3)), deposits.ErrTakenOver)
	require.Empty(t, s.Stored(t))
	require.NoError(t, second.Write(t.Context(), batch("b", 0, c, 2)))
	require.ErrorIs(t, first.Write(t.Context(), batch("a", 0, old, 3)), deposits.ErrTakenOver)
	require.Len(t, s.Stored(t), 2)
	// The same owner's older claim holds no more either.
	older := claimed(t, first, "a", map[int32]int64{0: 0})[0]
	claimed(t, first, "a", map[int32]int64{0: 0})
	require.ErrorIs(t, first.Write(t.Context(), batch("a", 0, older, 3)), deposits.ErrTakenOver)
	require.Len(t, s.Stored(t), 2)
}

func allOrNothing(t *testing.T, s Store) {
	sink := ready(t, s)
	c := claimed(t, sink, "a", map[int32]int64{0: 0, 1: 0, 2: 0})
	claimed(t, sink, "b", map[int32]int64{1: 0})
	b := batch("a", 0, c[0], 2)
	for p := int32(1); p < 3; p++ {
		more := batch("a", p, c[p], 2)
		b.Deposits = append(b.Deposits, more.Deposits...)
		b.Progress[p] = more.Progress[p]
	}
	require.ErrorIs(t, sink.Write(t.Context(), b), deposits.ErrTakenOver)
	require.Empty(t, s.Stored(t))
	for _, at := range claimed(t, sink, "c", map[int32]int64{0: 9, 1: 9, 2: 9}) {
		require.Zero(t, at.Next)
	}
}

func noGap(t *testing.T, s Store) {
	sink := ready(t, s)
	c := claimed(t, sink, "a", map[int32]int64{0: 10})[0]
	for _, first := range []int64{9, 11} {
		require.ErrorIs(t, sink.Write(t.Context(), batch("a", 0, deposits.Claim{Next: first, Epoch: c.Epoch}, 1)), deposits.ErrTakenOver)
	}
	require.Empty(t, s.Stored(t))
	require.NoError(t, sink.Write(t.Context(), batch("a", 0, c, 1)))
}

func progressAlone(t *testing.T, s Store) {
	sink := ready(t, s)
	c := claimed(t, sink, "a", map[int32]int64{3: 0})[3]
	b := batch("a", 3, c, 50)
	b.Deposits = nil
	require.NoError(t, sink.Write(t.Context(), b))
	require.Equal(t, int64(50), claimed(t, sink, "a", map[int32]int64{3: 0})[3].Next)
	require.Empty(t, s.Stored(t))
}

func foreignSource(t *testing.T, s Store) {
	sink := ready(t, s)
	c := claimed(t, sink, "a", map[int32]int64{0: 0})[0]
	for name, change := range map[string]func(*deposits.Source){
		"topic id": func(s *deposits.Source) { s.TopicID = "0b" },
		"cluster":  func(s *deposits.Source) { s.ClusterID = "c2" },
		"group":    func(s *deposits.Source) { s.Group = "h" },
	} {
		other := Source
		change(&other)
		_, err := sink.Claim(t.Context(), other, "b", map[int32]int64{0: 0, 1: 0})
		require.ErrorIs(t, err, deposits.ErrForeign)
		require.False(t, deposits.IsUnavailable(err))
		require.ErrorContains(t, err, "topic updates partition 0")
		require.ErrorContains(t, err, name)
	}
	require.NoError(t, sink.Write(t.Context(), batch("a", 0, c, 1)), "the claim holds")
	other := Source
	other.Topic, other.TopicID = "more", "0c"
	_, err := sink.Claim(t.Context(), other, "b", map[int32]int64{0: 0})
	require.NoError(t, err, "another topic is another matter")
}

func startTogether(t *testing.T, s Store) {
	together(t, 4, func(i int) error {
		sink := s.Open(t)
		if err := sink.Prepare(t.Context()); err != nil {
			return err
		}
		_, err := sink.Claim(t.Context(), Source, fmt.Sprint("owner", i), map[int32]int64{0: 0, 1: 0, 2: 0})
		return err
	})
}

// fight lets owners claim from each other without any order, each writing until it is fenced.
func fight(t *testing.T, s Store) {
	const owners, partitions, upTo, step = 4, 3, 200, 7
	ready(t, s)
	begin := map[int32]int64{}
	for p := range int32(partitions) {
		begin[p] = 0
	}
	together(t, owners, func(i int) error {
		sink, owner := s.Open(t), fmt.Sprint("owner", i)
		for {
			claims, err := sink.Claim(t.Context(), Source, owner, begin)
			if err != nil {
				return err
			}
			full, err := writeAll(t.Context(), sink, owner, claims, upTo, step)
			if err != nil && !errors.Is(err, deposits.ErrTakenOver) {
				return err
			}
			if full {
				return nil
			}
		}
	})
	stored := s.Stored(t)
	require.Len(t, stored, partitions*upTo)
	for i, d := range stored {
		require.Equal(t, int32(i/upTo), d.Partition)
		require.Equal(t, int64(i%upTo), d.Offset)
	}
}

// writeAll writes step by step until all partitions are full.
func writeAll(ctx context.Context, sink deposits.Sink, owner string, claims map[int32]deposits.Claim, upTo, step int64) (full bool, err error) {
	for {
		b := &deposits.Batch{Source: Source, Owner: owner, Progress: map[int32]deposits.Progress{}}
		for p, c := range claims {
			if n := min(step, upTo-c.Next); n > 0 {
				more := batch(owner, p, c, n)
				b.Deposits, b.Progress[p] = append(b.Deposits, more.Deposits...), more.Progress[p]
				claims[p] = deposits.Claim{Next: c.Next + n, Epoch: c.Epoch}
			}
		}
		if len(b.Progress) == 0 {
			return true, nil
		}
		if err := sink.Write(ctx, b); err != nil {
			return false, err
		}
	}
}

func together(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	for i, err := range errs {
		require.NoError(t, err, "instance %d", i)
	}
}
