package task

import "bytes"

// Prepare adds what the commit needs to the effects: one changelog record for each key that changed, none for one that
// came and went within the transaction, and the emissions that were held back. added is called after each, so that its
// caller can hand the effects on as they come; it may be nil.
func (t *Task) Prepare(added func()) {
	if added == nil {
		added = func() {}
	}
	for _, e := range t.held {
		if e.Kind == Output {
			t.effects = append(t.effects, e)
			added()
		}
	}
	clear(t.held)
	t.held = t.held[:0]
	clear(t.latest)
	t.prepareStream()
	for state, tb := range t.tables {
		for i, e := range tb.touched {
			t.warmNext(tb.touched, i)
			if e.changes = tb.changed(e); !e.changes {
				continue
			}
			var value []byte
			if e.phase == phaseSet {
				value = tb.value(e, pending)
			}
			t.effects = append(t.effects, Effect{Kind: Changelog, Index: state, Key: tb.keyBytes(e), Value: value, Timestamp: t.now})
			added()
		}
	}
}

// changed reports whether the transaction leaves the entry different from its committed value.
func (s *slab) changed(e *entry) bool {
	switch e.phase {
	case phaseSet:
		return !e.exists || !bytes.Equal(s.value(e, committed), s.value(e, pending))
	case phaseRemoved:
		return e.exists
	}
	return false
}

// Keep makes the transaction's changes, as Prepare found them, the committed state. It is called only after the broker
// confirmed the end of the transaction (R3). changelog holds, by state, the offset after the last record that was written there.
func (t *Task) Keep(changelog []int64, now int64) {
	for _, tb := range t.tables {
		for i, e := range tb.touched {
			t.warmNext(tb.touched, i)
			e.touched = false
			if e.changes {
				tb.keep(e)
			}
			e.phase = phaseNone
			tb.settleIndex(e, false)
		}
		clear(tb.touched)
		tb.touched = tb.touched[:0]
	}
	for i, end := range changelog {
		t.changelog[i] = max(t.changelog[i], end)
	}
	copy(t.committed, t.next)
	clear(t.removes)
	t.fired, t.streamKept = false, t.stream
	t.refreshed = now
	t.evict()
}

func (tb *table) keep(e *entry) {
	tb.commit(e)
	if !e.dirty {
		e.dirty = true
		tb.dirty = append(tb.dirty, e)
	}
}

// Abort drops the overlay, the effects, and the offsets passed since the last commit.
func (t *Task) Abort() {
	for _, tb := range t.tables {
		for _, e := range tb.touched {
			e.touched, e.phase = false, phaseNone
			tb.settleIndex(e, true)
		}
		clear(tb.touched)
		tb.touched = tb.touched[:0]
	}
	t.ClearEffects()
	clear(t.held)
	t.held = t.held[:0]
	clear(t.latest)
	copy(t.next, t.committed)
	clear(t.removes)
	t.fired, t.stream = false, t.streamKept
	t.stats.Records = 0 // those before the last commit were taken at it
}
