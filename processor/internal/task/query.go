package task

// Committed returns a key's committed value, whatever the open transaction holds of it (R1). known is false where only the
// store can tell: it then has the key's committed value, or none. The slice is valid until the next call of a method.
func (t *Task) Committed(state int, key []byte) (value []byte, exists, known bool) {
	tb := t.tables[state]
	e := tb.get(key)
	if e == nil {
		return nil, false, false
	}
	return tb.value(e, committed), e.exists, true
}

// Unapplied calls fn with the committed value of each key whose value the store may lack, in no order and perhaps more than
// once. Its arguments are valid during the call.
func (t *Task) Unapplied(state int, fn func(key string, value []byte, exists bool)) {
	tb := t.tables[state]
	for _, e := range tb.dirty {
		fn(tb.key(e), tb.value(e, committed), e.exists)
	}
	for _, f := range tb.freezing {
		for _, e := range f.entries {
			fn(tb.key(e), tb.value(e, committed), e.exists)
		}
	}
}
