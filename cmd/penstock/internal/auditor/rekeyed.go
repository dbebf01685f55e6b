package auditor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/processor/session/audit"
)

// rekeyed compares an input with the topic that its records are in by session id: each must be there once, with the same
// bytes. Its order there is nobody's promise.
type rekeyed struct {
	source   string
	format   audit.Config
	sessions map[string]*passage
	bad      passage // records that are dead letters of the stage
}

// passage is what was seen of one session: how many records, and the sum of their hashes.
type passage struct {
	before, after, found     int64 // in the input when the audit began, and later; in the other topic
	hashBefore, hashOfPassed uint64
}

var passageSeed = maphash.MakeSeed()

func (k *rekeyed) of(session string) *passage {
	p := k.sessions[session]
	if p == nil {
		p = &passage{}
		k.sessions[session] = p
	}
	return p
}

// input takes a record of the input; settled says that it was there when the audit began.
func (k *rekeyed) input(r audit.Record, settled bool) {
	p := &k.bad
	if tx, err := k.format.Format.Decode(r.Value); r.Value != nil && err == nil && tx.SessionID != "" {
		p = k.of(tx.SessionID)
	}
	p.after++
	if settled {
		p.before++
		p.hashBefore += maphash.Bytes(passageSeed, r.Value)
	}
}

func (k *rekeyed) passed(r audit.Record) {
	p := k.of(string(r.Key))
	p.found++
	p.hashOfPassed += maphash.Bytes(passageSeed, r.Value)
}

// auditRekeyed reads both topics and adds what is wrong between them to the report.
func (a *auditor) auditRekeyed(ctx context.Context, source string, settled kafka.Ends) error {
	to := a.cfg.Audit.Input
	k := &rekeyed{source: source, format: a.cfg.Audit, sessions: map[string]*passage{}}
	// What is in the other topic by now has its cause in what the input holds later.
	ends, err := kafka.StableEnds(ctx, a.cl, to)
	if err != nil {
		return err
	}
	letters := to + "-dead-letters" // the stage's application has the topic's name
	letterEnds, err := kafka.StableEnds(ctx, a.cl, letters)
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return err
	}
	later, err := kafka.StableEnds(ctx, a.cl, source)
	if err != nil {
		return err
	}
	if err := a.readTopic(ctx, source, later, func(r audit.Record) { k.input(r, r.Offset < settled[r.Partition]) }); err != nil {
		return err
	}
	if err := a.readTopic(ctx, to, ends, k.passed); err != nil {
		return err
	}
	if err := a.readTopic(ctx, letters, letterEnds, func(audit.Record) { k.bad.found++ }); err != nil {
		return err
	}
	a.report.DeadLetters += k.bad.found
	k.judge(&a.report.Verdict, a.cfg.Audit.SkipBad)
	return nil
}

// judge adds the faults: what the input held when the audit began must be there, and no more than it holds now.
func (k *rekeyed) judge(v *audit.Verdict, skipBad bool) {
	const examples = 5
	say := func(counter *int64, n int64, format string, args ...any) {
		if *counter < examples {
			v.Examples = append(v.Examples, fmt.Sprintf(format, args...))
		}
		*counter += n
	}
	check := func(what string, p *passage, bytes bool) {
		switch {
		case p.found < p.before:
			say(&v.Lost, p.before-p.found, "lost: %s has %d records in %s, and %d of them came through", what, p.before, k.source, p.found)
		case p.found > p.after:
			say(&v.Duplicated, p.found-p.after, "duplicated: %s has %d records in %s, and %d came through", what, p.after, k.source, p.found)
		case bytes && p.before == p.after && p.hashBefore != p.hashOfPassed:
			say(&v.Wrong, 1, "wrong: %s has other records than in %s", what, k.source)
		}
	}
	for id, p := range k.sessions {
		check(fmt.Sprintf("session %q", id), p, true)
	}
	if !skipBad {
		check("what cannot be read", &k.bad, false)
	}
}
