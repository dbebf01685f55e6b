package audit

import (
	"fmt"
	"sort"

	"github.com/penstock/penstock/processor/session"
)

// seen is an update of the output topic that is not the expected one.
type seen struct {
	balance   string // or what is wrong with the record, which equals no balance
	closed    bool
	partition int32
	offset    int64
}

func (s seen) String() string { return describe(s.balance, s.closed) }

func (u update) String() string { return describe(u.balance, u.closed) }

func describe(balance string, closed bool) string {
	if closed {
		return "closing balance " + balance
	}
	return "balance " + balance
}

// Output compares a record of the output topic.
func (m *Model) Output(r Record) {
	m.verdict.Updates++
	first := m.tracks[string(r.Key)]
	u, err := m.update.Decode(r.Value)
	if err == nil && u.SessionID != string(r.Key) {
		err = fmt.Errorf("session id %.60q under another key", u.SessionID)
	}
	if err == nil {
		m.checkReason(r, u)
	}
	if u.DepositCurrentBalance {
		m.verdict.Deposits++
	}
	if first == nil {
		m.wrong("update at partition %d offset %d: key %.60q has no transaction", r.Partition, r.Offset, r.Key)
		return
	}
	if err != nil {
		first.got = append(first.got, seen{"of " + err.Error(), false, r.Partition, r.Offset})
		return
	}
	m.scratch = u.CurrentBalance.Append(m.scratch[:0])
	for t := first; t != nil; t = t.more {
		if m.take(t, u.DepositCurrentBalance) {
			return
		}
	}
	first.got = append(first.got, seen{string(m.scratch), u.DepositCurrentBalance, r.Partition, r.Offset})
}

// take moves t on when the update in scratch is the one that may follow.
func (m *Model) take(t *track, closed bool) bool {
	if len(t.got) > 0 {
		return false
	}
	for i := t.next; i < len(t.expect); i++ {
		if e := &t.expect[i]; e.closed == closed && e.balance == string(m.scratch) {
			t.next = i + 1
			return true
		}
		if m.required(t, i) || m.cfg.Updates != session.UpdatesLast {
			return false
		}
	}
	return false
}

// required says whether expect[i] must have been written.
func (m *Model) required(t *track, i int) bool {
	if i >= t.settled {
		return false
	}
	if m.cfg.Updates != session.UpdatesLast {
		return true
	}
	return t.expect[i].closed || i == len(t.expect)-1
}

// closeReason is the header of closing updates.
const closeReason = "penstock.close.reason"

func (m *Model) checkReason(r Record, u session.SessionUpdate) {
	reason, ok := r.header(closeReason)
	switch {
	case u.DepositCurrentBalance && reason == session.ClosedByIdle && m.cfg.Idle: // what has no place is found elsewhere
	case u.DepositCurrentBalance && reason != "deposit":
		m.wrong("closing update of key %.60q at partition %d offset %d: expected header %s %q, got %q", r.Key, r.Partition, r.Offset, closeReason, "deposit", reason)
	case !u.DepositCurrentBalance && ok:
		m.wrong("update of key %.60q at partition %d offset %d closes nothing, but has header %s %q", r.Key, r.Partition, r.Offset, closeReason, reason)
	}
}

// judge names the faults of a key's updates.
func (m *Model) judge(key string, t *track) {
	expect, got := t.expect[t.next:], t.got
	if len(got) == 0 {
		m.missing(key, t, t.next, len(t.expect))
		return
	}
	pairs := align(expect, got)
	moved := m.moved(key, t, expect, got, pairs)
	occurs := map[update]bool{}
	for _, u := range t.expect {
		occurs[update{u.balance, u.closed, 0}] = true
	}
	pairs = append(pairs, pair{len(expect), len(got)})
	last := pair{-1, -1}
	var left unexplained
	for _, p := range pairs {
		m.gap(key, t, gap{last.expect + 1, p.expect, last.got + 1, p.got}, moved, occurs, &left)
		last = p
	}
	// An update without a cause beside one that is missing: it stands in its place. Where values repeat, the alignment may
	// have put them apart.
	for len(left.expect) > 0 && len(left.got) > 0 {
		m.replaced(key, t, left.expect[0], left.got[0])
		left.expect, left.got = left.expect[1:], left.got[1:]
	}
	for _, s := range left.got {
		m.wrong("update of key %.60q at partition %d offset %d, %v, has no cause", key, s.partition, s.offset, s)
	}
	for _, i := range left.expect {
		m.missing(key, t, i, i+1)
	}
}

// unexplained is what is left of a key's updates when moved, replaced and duplicated ones are named: indices into
// track.expect, and what was seen.
type unexplained struct {
	expect []int
	got    []seen
}

// gap is what lies between two aligned updates: expect[e0:e1], in its place got[g0:g1].
type gap struct{ e0, e1, g0, g1 int }

// gap judges one. What was moved is left out: it is named already.
func (m *Model) gap(key string, t *track, g gap, moved moves, occurs map[update]bool, left *unexplained) {
	var expected []int
	for i := g.e0; i < g.e1; i++ {
		if !moved.expect[i] && m.required(t, t.next+i) {
			expected = append(expected, t.next+i)
		}
	}
	for i := g.g0; i < g.g1; i++ {
		s := t.got[i]
		switch {
		case moved.got[i]:
		case len(expected) > 0:
			m.replaced(key, t, expected[0], s)
			expected = expected[1:]
		case occurs[update{s.balance, s.closed, 0}]:
			m.duplicated("update of key %.60q at partition %d offset %d, %v", key, s.partition, s.offset, s)
		default:
			left.got = append(left.got, s)
		}
	}
	left.expect = append(left.expect, expected...)
}

// replaced names an update that stands in the place of expect[i].
func (m *Model) replaced(key string, t *track, i int, s seen) {
	e := t.expect[i]
	m.wrong("update of key %.60q at partition %d offset %d: expected %v for input partition %d offset %d, got %v",
		key, s.partition, s.offset, e, t.partition, e.offset, s)
}

// missing names the required ones of expect[from:to] as lost.
func (m *Model) missing(key string, t *track, from, to int) {
	for i := from; i < to; i++ {
		if m.required(t, i) {
			m.lost("update of key %.60q, %v, for input partition %d offset %d", key, t.expect[i], t.partition, t.expect[i].offset)
		}
	}
}

// moves are the indices of updates that are there, but elsewhere.
type moves struct{ expect, got map[int]bool }

// moved finds expected updates that stand in another place.
func (m *Model) moved(key string, t *track, expect []update, got []seen, pairs []pair) moves {
	absent := map[update][]int{}
	p := 0
	for i, u := range expect {
		if p < len(pairs) && pairs[p].expect == i {
			p++
			continue
		}
		v := update{u.balance, u.closed, 0}
		absent[v] = append(absent[v], i)
	}
	r := moves{map[int]bool{}, map[int]bool{}}
	p = 0
	for i, s := range got {
		if p < len(pairs) && pairs[p].got == i {
			p++
			continue
		}
		v := update{s.balance, s.closed, 0}
		if list := absent[v]; len(list) > 0 {
			absent[v] = list[1:]
			r.expect[list[0]], r.got[i] = true, true
			m.outOfOrder("update of key %.60q at partition %d offset %d, %v, for input partition %d offset %d",
				key, s.partition, s.offset, s, t.partition, expect[list[0]].offset)
		}
	}
	return r
}

// pair aligns an expected update with an equal one that was seen.
type pair struct{ expect, got int }

// window bounds how many places of a repeated value are tried for each update.
const window = 32

// align returns a longest common subsequence (Hunt and Szymanski 1977; exact unless values repeat more often than
// window).
func align(expect []update, got []seen) []pair {
	places := map[update][]int{}
	for i, u := range expect {
		v := update{u.balance, u.closed, 0}
		places[v] = append(places[v], i)
	}
	type link struct {
		pair
		before *link
	}
	var tails []*link // tails[n] ends the chain of n+1 pairs with the smallest index into expect
	count := map[update]int{}
	for g, s := range got {
		v := update{s.balance, s.closed, 0}
		list, k := places[v], count[v]
		count[v]++
		low, high := max(0, min(k, len(list))-window), min(len(list), k+window+1)
		for i := high - 1; i >= low; i-- {
			e := list[i]
			n := sort.Search(len(tails), func(n int) bool { return tails[n].expect >= e })
			l := &link{pair: pair{e, g}}
			if n > 0 {
				l.before = tails[n-1]
			}
			if n == len(tails) {
				tails = append(tails, l)
			} else {
				tails[n] = l
			}
		}
	}
	pairs := make([]pair, len(tails))
	if len(tails) == 0 {
		return nil
	}
	for l, i := tails[len(tails)-1], len(tails)-1; l != nil; l, i = l.before, i-1 {
		pairs[i] = l.pair
	}
	return pairs
}
