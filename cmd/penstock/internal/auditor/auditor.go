// Package auditor reads an application's topics and has package session/audit judge them.
package auditor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/processor/session/audit"
)

// Config says what to audit.
type Config struct {
	Connection *kafka.Connection
	App        string
	Output     string
	Audit      audit.Config // Audit.Input is the input topic
	// Between is the topic in which the application gave the input's records their key, by which its results are judged; empty:
	// they had it.
	Between string

	// Wait is how long the application may take to process what the input held at the start.
	Wait time.Duration
}

// Report is a verdict and what a reader must know beside it.
type Report struct {
	audit.Verdict
	Behind int64    // records that were not processed when the wait was over
	Notes  []string // in words
}

// Exact reports whether everything was processed, exactly once and right.
func (r Report) Exact() bool { return r.Behind == 0 && r.Verdict.Exact() }

// Run audits.
func Run(ctx context.Context, cfg Config) (Report, error) {
	cl, err := cfg.Connection.Client(ctx)
	if err != nil {
		return Report{}, err
	}
	defer cl.Close()
	a := &auditor{cfg: cfg, cl: cl}
	if cfg.Between != "" {
		err = a.readRekeyed(ctx)
	} else {
		err = a.read(ctx)
	}
	return a.report, err
}

type auditor struct {
	cfg    Config
	cl     *kgo.Client
	model  *audit.Model
	report Report
}

// readRekeyed judges the way to the topic between, and then what was made from that.
func (a *auditor) readRekeyed(ctx context.Context) error {
	source, to := a.cfg.Audit.Input, a.cfg.Between
	settled, err := kafka.StableEnds(ctx, a.cl, source)
	if err != nil {
		return err
	}
	if err := a.wait(ctx, to, source, settled); err != nil { // the stage's group has the name of its topic
		return err
	}
	a.cfg.Audit.Input = to
	if err := a.read(ctx); err != nil {
		return err
	}
	return a.auditRekeyed(ctx, source, settled)
}

// Names of the application's own topics.
func (a *auditor) changelog() string   { return a.cfg.App + "-total-changelog" }
func (a *auditor) deadLetters() string { return a.cfg.App + "-dead-letters" }

func (a *auditor) read(ctx context.Context) error {
	input := a.cfg.Audit.Input
	a.model = audit.New(a.cfg.Audit)
	defer func() { a.report.Verdict = a.model.Verdict() }()
	if err := a.awaitTopics(ctx); err != nil {
		return err
	}
	settled, err := kafka.StableEnds(ctx, a.cl, input)
	if err != nil {
		return err
	}
	if err := a.wait(ctx, a.cfg.App, input, settled); err != nil {
		return err
	}
	if err := a.visible(ctx); err != nil {
		return err
	}
	// The results' ends come before the input's: whatever has a result by then, has its cause in what is read. What the
	// input got since may have results or not.
	ends, err := a.resultEnds(ctx)
	if err != nil {
		return err
	}
	inputEnds, err := kafka.StableEnds(ctx, a.cl, input)
	if err != nil {
		return err
	}
	idle := ends[1]
	if !a.cfg.Audit.Idle {
		idle = nil
	}
	steps := []struct {
		topic string
		ends  kafka.Ends
		each  func(audit.Record)
	}{
		{a.deadLetters(), ends[0], a.model.DeadLetter},
		{a.cfg.Output, idle, a.model.IdleClosings},
		{input, inputEnds, func(r audit.Record) { a.model.Input(r, r.Offset < settled[r.Partition]) }},
		{a.cfg.Output, ends[1], a.model.Output},
		{a.changelog(), ends[2], a.model.Changelog},
	}
	for _, s := range steps {
		if err := a.readTopic(ctx, s.topic, s.ends, s.each); err != nil {
			return err
		}
	}
	return nil
}

// visibleWait bounds the wait for transactions that have ended to be seen in every topic.
const visibleWait = 15 * time.Second

// visible waits until what the results' topics held when the offsets were committed can be read: the end of a
// transaction reaches one partition after the other, and the offsets' may be the first.
func (a *auditor) visible(ctx context.Context) error {
	deadline := time.Now().Add(visibleWait)
	for _, topic := range []string{a.deadLetters(), a.cfg.Output, a.changelog()} {
		written, err := kafka.Written(ctx, a.cl, topic)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			continue
		}
		for err == nil {
			var stable kafka.Ends
			if stable, err = kafka.StableEnds(ctx, a.cl, topic); err != nil || stable.Reach(written) || time.Now().After(deadline) {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(waitPoll):
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// idleTries bounds the search for a moment at which no session is closed.
const idleTries = 100

// resultEnds are the stable ends of dead letters, output and changelog. An idle timeout closes sessions without a record
// in the input that would tell of it: the output's end must be the same before and a while after the changelog's is taken
// (a transaction ends at one partition after the other).
func (a *auditor) resultEnds(ctx context.Context) (ends [3]kafka.Ends, err error) {
	for try := 0; ; try++ {
		for i, topic := range []string{a.deadLetters(), a.cfg.Output, a.changelog()} {
			if ends[i], err = kafka.StableEnds(ctx, a.cl, topic); errors.Is(err, kerr.UnknownTopicOrPartition) {
				if try == 0 {
					a.note("topic %s does not exist", topic)
				}
				err = nil
			}
			if err != nil {
				return ends, err
			}
		}
		if !a.cfg.Audit.Idle || ends[1] == nil {
			return ends, nil
		}
		select {
		case <-ctx.Done():
			return ends, ctx.Err()
		case <-time.After(2 * waitPoll):
		}
		again, err := kafka.StableEnds(ctx, a.cl, a.cfg.Output)
		if err != nil || maps.Equal(again, ends[1]) {
			return ends, err
		}
		if try == idleTries {
			a.note("sessions are closed all the time: one that was closed when the audit began may be called wrong. Audit again when there is less to do")
			return ends, nil
		}
	}
}

// startWait bounds the wait for the topics of an application that was started just before the audit.
const startWait = 5 * time.Second

// awaitTopics gives an application that is starting the time to create its topics.
func (a *auditor) awaitTopics(ctx context.Context) error {
	deadline := time.Now().Add(min(startWait, a.cfg.Wait))
	for {
		err := a.findTopics(ctx)
		if !errors.Is(err, kafka.ErrNoTopic) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitPoll):
		}
	}
}

// findTopics names every topic without which an audit makes no sense.
func (a *auditor) findTopics(ctx context.Context) error {
	var faults []error
	for _, t := range []struct{ topic, flag string }{{a.cfg.Audit.Input, "--input"}, {a.cfg.Output, "--output"}, {a.changelog(), "--app"}} {
		if _, err := kafka.Partitions(ctx, a.cl, t.topic); errors.Is(err, kafka.ErrNoTopic) {
			faults = append(faults, fmt.Errorf("%w: is %s right, and has the application run?", err, t.flag))
		} else if err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func (a *auditor) note(format string, args ...any) {
	a.report.Notes = append(a.report.Notes, fmt.Sprintf(format, args...))
}

// waitPoll is how often the group's offsets are looked at.
const waitPoll = 50 * time.Millisecond

// wait until a group has committed a topic up to target.
func (a *auditor) wait(ctx context.Context, group, topic string, target kafka.Ends) error {
	deadline := time.Now().Add(a.cfg.Wait)
	starts, err := kafka.Starts(ctx, a.cl, topic)
	if err != nil {
		return err
	}
	for {
		committed, err := Committed(ctx, a.cl, group, topic, starts)
		if err != nil && (!kerr.IsRetriable(err) || time.Now().After(deadline)) {
			return err
		}
		if err == nil && committed.Reach(target) {
			return nil
		}
		if time.Now().After(deadline) {
			for p, end := range target {
				if n := end - committed[p]; n > 0 {
					a.report.Behind += n
					a.note("%s partition %d: group %s has committed offset %d of %d after a wait of %v", topic, p, group, committed[p], end, a.cfg.Wait)
				}
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(waitPoll):
		}
	}
}

// Committed are a group's offsets of a topic; starts where it has none.
func Committed(ctx context.Context, cl *kgo.Client, group, topic string, starts kafka.Ends) (kafka.Ends, error) {
	resp, err := kadm.NewClient(cl).FetchOffsets(ctx, group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("fetch offsets of group %s: %w", group, err)
	}
	e := kafka.Ends{}
	for p, start := range starts {
		e[p] = start
		if o, ok := resp.Lookup(topic, p); ok && o.Err == nil && o.At > start {
			e[p] = o.At
		}
	}
	return e, nil
}

func (a *auditor) readTopic(ctx context.Context, topic string, ends kafka.Ends, each func(audit.Record)) error {
	if ends == nil {
		return nil
	}
	starts, err := kafka.Starts(ctx, a.cl, topic)
	if err != nil {
		return err
	}
	if topic == a.cfg.Audit.Input || topic == a.cfg.Output {
		for p, start := range starts {
			if start > 0 {
				a.note("%s partition %d begins at offset %d: what was before it is gone, and sessions that were open then cannot be judged", topic, p, start)
			}
		}
	}
	var headers []audit.Header
	return a.cfg.Connection.ReadAll(ctx, topic, starts, ends, func(r *kgo.Record) {
		headers = headers[:0]
		for _, h := range r.Headers {
			headers = append(headers, audit.Header{Key: h.Key, Value: h.Value})
		}
		each(audit.Record{Partition: r.Partition, Offset: r.Offset, Key: r.Key, Value: r.Value, Headers: headers})
	})
}
