package task

// warm fetches the entries of keys, at most AheadEvery, into the processor's cache. One after the other each lookup would
// wait for memory two or three times; here these waits overlap, since none of these reads depends on another key's.
func (x *index) warm(keys [][]byte) (sum uint64) {
	if len(x.slots) == 0 {
		return 0
	}
	var entries [AheadEvery]ref
	mask := uint32(len(x.slots) - 1)
	for i, key := range keys {
		entries[i] = x.slots[indexHash(key)&mask].entry // the first slot is mostly the right one
	}
	for _, r := range entries[:len(keys)] {
		if r != 0 {
			sum += x.at(r).touch()
		}
	}
	return sum
}

// ahead is how far the loops over touched entries fetch before them.
const ahead = 12

// warmNext fetches the entry that a loop over entries comes to soon.
func (t *Task) warmNext(entries []*entry, i int) {
	if i+ahead < len(entries) {
		t.warmed += entries[i+ahead].touch()
	}
}

// touch reads from both lines of an entry.
func (e *entry) touch() uint64 { return uint64(e.keyLen) + uint64(e.phase) }
