package restore

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// An application may change between two runs: a state, a timer or an input is added or dropped. What it was when it last
// committed stands in the mark of each partition's offsets (R6). A task of the new application takes over like this:
//
//   - an added state begins empty. Its changelog must be empty too: what it holds is of an earlier time, when a state had
//     that name, and would come back to life;
//   - a dropped state's changelog is left alone; its values in the local store are deleted;
//   - an added input begins where a new application's would;
//   - a dropped input's committed offset is left alone. Where the input comes back, it goes on from there.
//
// Then the offsets are committed again with the mark of the new application, before its first transaction: a changelog that
// is lost from here on is missed.

// history is what the marks of one partition's offsets say.
type history []Mark

func (h history) hadState(name string) bool {
	return slices.ContainsFunc(h, func(m Mark) bool { return m.HadState(name) })
}

func (h history) hadInput(topic string) bool {
	return slices.ContainsFunc(h, func(m Mark) bool { return m.hadInput(topic) })
}

// names are those of all marks, each once.
func (h history) names(of func(Mark) []string) []string {
	var all []string
	for _, m := range h {
		all = append(all, of(m)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// inputs returns the offsets to go on from, with their epochs and their mark. It commits those that are new to the application, and all
// where the application has changed.
func (r *run) inputs(ctx context.Context) ([]int64, []broker.Epoch, Mark, error) {
	committed := make([]broker.Committed, len(r.Inputs))
	marks := make([]Mark, len(r.Inputs))
	r.known = make([]bool, len(r.Inputs))
	var h history
	for i, topic := range r.Inputs {
		var err error
		if committed[i], err = r.committed(ctx, topic); err != nil {
			return nil, nil, Mark{}, err
		}
		if committed[i].Offset < 0 {
			continue
		}
		m, err := r.checkMark(topic, committed[i])
		if err != nil {
			return nil, nil, m, err
		}
		marks[i], r.known[i] = m, true
		h = append(h, m)
	}
	incarnation := 1
	for _, m := range h {
		incarnation = max(incarnation, m.Incarnation)
	}
	mark := r.Mark(incarnation)
	if err := r.checkAdded(ctx, h); err != nil {
		return nil, nil, mark, err
	}
	told := true // the marks are all of the application as it is, so nobody wrote since who did not write them
	changed := false
	for i, m := range marks {
		current := m.current(committed[i].Metadata, mark)
		told = told && (current || !r.known[i])
		changed = changed || !current || len(m.Ends) != len(mark.Ends)
	}
	var err error
	if r.ends, err = r.endsOf(ctx, h, told); err != nil {
		return nil, nil, mark, err
	}
	for state, e := range r.ends {
		mark.Ends[state], mark.Last[state] = e.least, e.last
	}
	offsets, epochs := make([]int64, len(r.Inputs)), make([]broker.Epoch, len(r.Inputs))
	var list []broker.Offset
	for i, topic := range r.Inputs {
		o := broker.Offset{Topic: topic, Partition: r.partition, Offset: committed[i].Offset, Epoch: committed[i].Epoch, Metadata: mark.String()}
		if o.Offset >= 0 {
			offsets[i], err = r.reachable(ctx, topic, committed[i])
		} else {
			o.Offset, err = r.first(ctx, topic, h)
			offsets[i] = o.Offset
		}
		if err != nil {
			return nil, nil, mark, err
		}
		list = append(list, o)
		if offsets[i] == o.Offset {
			epochs[i] = o.Epoch
		}
	}
	if !changed {
		return offsets, epochs, mark, nil
	}
	r.tell(h)
	// Nobody else commits for the partition: this member owns it, and no transaction on its offsets was open (R5).
	err = r.retry(ctx, "commit the first offset", func() error { return r.Cluster.Commit(ctx, r.Membership(), list) })
	return offsets, epochs, mark, err
}

// end is what the committed offsets tell of a changelog.
type end struct {
	least int64 // it ends there or above
	most  int64 // no record from there on counts
	last  int64 // a record stands there that counts, unless it was compacted; -1: none that is known
}

// endsOf returns, by state, where the changelogs must end. What the marks do not tell, as they are of an early version, of
// another form of the application or of processing at least once, is told from here on.
func (r *run) endsOf(ctx context.Context, h history, current bool) ([]end, error) {
	ends := make([]end, len(r.States))
	for state, name := range r.States {
		told := current
		ends[state].last = -1
		for _, m := range h {
			ends[state].last = max(ends[state].last, m.last(name))
			at, ok := m.end(name)
			ends[state].least = max(ends[state].least, at)
			told = told && ok && !m.Loose
		}
		ends[state].most = ends[state].least
		if told && !r.Loose {
			continue
		}
		b, err := r.bounds(ctx, r.Changelogs[state])
		if err != nil {
			return nil, err
		}
		ends[state].least, ends[state].most = max(ends[state].least, b.HW), math.MaxInt64
	}
	return ends, nil
}

// ahead refuses local state that is ahead of the committed offsets, which it never is: they went back.
func (r *run) ahead(at task.Position, inputs []int64) error {
	for i, topic := range r.Inputs {
		if r.known[i] && i < len(at.Inputs) && at.Inputs[i] > inputs[i] {
			return &MismatchError{fmt.Sprintf("local state of partition %d stands at offset %d of topic %s, but group %s has committed offset %d: it went back; what follows it would be summed twice. Run penstock reset, or delete the state directory if the offset is right",
				r.partition, at.Inputs[i], topic.Name, r.App, inputs[i])}
		}
	}
	return nil
}

// checkAdded refuses a state that is new to the application, but whose changelog is not.
func (r *run) checkAdded(ctx context.Context, h history) error {
	for state, changelog := range r.Changelogs {
		if len(h) == 0 || h.hadState(r.States[state]) {
			continue
		}
		end, err := r.holds(ctx, changelog)
		if err != nil {
			return err
		}
		if end > 0 {
			return &MismatchError{fmt.Sprintf("application %s last ran without state %q, but changelog %s partition %d holds records up to offset %d, of an earlier time: they would come back to life. Delete the topic to begin with an empty state, or use another --app",
				r.App, r.States[state], changelog.Name, r.partition, end)}
		}
	}
	return nil
}

// holds returns where a changelog with committed records ends, 0 for one that has none: the end of a transaction alone, which
// is written to all topics where it is said again, is none.
func (r *run) holds(ctx context.Context, changelog broker.Topic) (int64, error) {
	b, err := r.bounds(ctx, changelog)
	if err != nil {
		return 0, err
	}
	reader := r.Cluster.Reader(changelog, r.partition)
	for next := b.Start; next < b.HW; {
		f, err := r.fetch(ctx, reader, next)
		if err != nil {
			return 0, err
		}
		if len(f.Records) > 0 {
			return b.HW, nil
		}
		next = f.Next
	}
	return 0, nil
}

// first is where an input without a committed offset begins.
func (r *run) first(ctx context.Context, topic broker.Topic, h history) (int64, error) {
	if len(h) == 0 || h.hadInput(topic.Name) {
		for state, changelog := range r.Changelogs {
			end, err := r.holds(ctx, changelog)
			if err != nil {
				return 0, err
			}
			if end > 0 {
				return 0, &MismatchError{fmt.Sprintf("group %s has no committed offset for topic %s partition %d, but changelog %s holds records up to offset %d: the offset expired or was deleted, or the input has another name than before; state %q would be summed twice. Run penstock reset, or use another --app",
					r.App, topic.Name, r.partition, changelog.Name, end, r.States[state])}
			}
		}
	}
	b, err := r.bounds(ctx, topic)
	if r.FromEnd && !slices.Contains(r.Internal, topic.Name) {
		return b.LSO, err
	}
	return b.Start, err
}

// tell says what was added and dropped.
func (r *run) tell(h history) {
	if len(h) == 0 {
		return
	}
	for _, s := range r.States {
		if !h.hadState(s) {
			r.log.Warn("a state is new to the application: it begins empty", "state", s)
		}
	}
	for _, t := range r.Inputs {
		if !h.hadInput(t.Name) {
			r.log.Warn("an input is new to the application", "topic", t.Name)
		}
	}
	for _, s := range h.names(func(m Mark) []string { return m.States }) {
		if !slices.Contains(r.States, s) {
			r.log.Warn("a state is no longer part of the application: its changelog is left alone", "state", s, "topic", topology.Changelog(r.App, s))
		}
	}
	for _, t := range h.names(func(m Mark) []string { return m.Topics }) {
		if !slices.ContainsFunc(r.Inputs, func(in broker.Topic) bool { return in.Name == t }) {
			r.log.Warn("an input is no longer part of the application: its committed offset is left alone", "topic", t)
		}
	}
}

// carried returns the position that local state of an older form of the application has in the present one, where they
// differ by inputs and by states that were added or dropped, and adds to b what makes the state so. Nothing needs to be read
// again then.
func carried(partition int32, at task.Position, want task.Identity, b *statestore.Batch) (next task.Position, ok bool) {
	have := at.Identity
	same := have
	same.InputIDs, same.States, same.ChangelogIDs = want.InputIDs, want.States, want.ChangelogIDs
	if !same.Equal(want) || len(have.States) != len(have.ChangelogIDs) || len(have.States) != len(at.Changelogs) {
		return next, false
	}
	next = task.Position{Identity: want, Time: at.Time, Inputs: make([]int64, len(want.InputIDs)), Changelogs: make([]int64, len(want.States))}
	for i, id := range want.InputIDs {
		if was := slices.Index(have.InputIDs, id); was >= 0 && was < len(at.Inputs) {
			next.Inputs[i] = at.Inputs[was]
		}
	}
	for i, s := range want.States {
		was := slices.Index(have.States, s)
		if was < 0 {
			b.DeleteRange(task.StateRange(partition, s))
			continue
		}
		if have.ChangelogIDs[was] != want.ChangelogIDs[i] {
			return next, false
		}
		next.Changelogs[i] = at.Changelogs[was]
	}
	for _, s := range have.States {
		if !slices.Contains(want.States, s) {
			b.DeleteRange(task.StateRange(partition, s))
		}
	}
	task.WritePosition(b, partition, next)
	return next, true
}
