package task

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/penstock/penstock/statestore"
)

// Identity says which data a task's local state belongs to (R6). Two states of unequal identity have nothing to do with
// each other.
type Identity struct {
	Format       int      `json:"format"`
	Cluster      string   `json:"cluster"`
	App          string   `json:"app"`
	Incarnation  int      `json:"incarnation"`
	Partitions   int      `json:"partitions"`
	InputIDs     []string `json:"inputIds"`     // topic ids, by input
	States       []string `json:"states"`       // names
	ChangelogIDs []string `json:"changelogIds"` // topic ids, by state
}

// Position is how far a task's state in the store goes. It is written in the same batch as the data it describes.
type Position struct {
	Identity   Identity `json:"identity"`
	Inputs     []int64  `json:"inputs"`     // by input: next offset to handle
	Changelogs []int64  `json:"changelogs"` // by state: next changelog offset to read
	Time       int64    `json:"time"`       // Unix milliseconds when this was the changelog's end (R7)
}

// positionKey is where a partition's position is kept; no state's name begins with a zero byte.
func positionKey(partition int32) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(partition)), "\x00position"...)
}

// ReadPosition returns the position of a partition in the store, if there is one.
func ReadPosition(store Reader, partition int32) (p Position, ok bool, err error) {
	raw, ok, err := store.Get(nil, positionKey(partition))
	if err != nil || !ok {
		return p, false, err
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, false, fmt.Errorf("%w: position of partition %d: %w", statestore.ErrCorrupt, partition, err)
	}
	return p, true, nil
}

// WritePosition adds a partition's position to a batch.
func WritePosition(b *statestore.Batch, partition int32, p Position) {
	raw, err := json.Marshal(p)
	if err != nil {
		panic(err) // plain data
	}
	b.Set(positionKey(partition), raw)
}

// Dirty is how many entries a freeze would write.
func (t *Task) Dirty() int {
	n := 0
	for _, tb := range t.tables {
		n += len(tb.dirty)
	}
	return n
}

// CacheBytes estimates the memory of the cache, the overlay included.
func (t *Task) CacheBytes() int {
	n := 0
	for _, tb := range t.tables {
		n += tb.bytes
	}
	return n
}

// CacheEntries is how many keys the cache holds, those without a value included.
func (t *Task) CacheEntries() int {
	n := 0
	for _, tb := range t.tables {
		n += len(tb.ring)
	}
	return n
}

// TimersWaiting is how many timers are set.
func (t *Task) TimersWaiting() int {
	n := 0
	for _, tb := range t.tables {
		if tb.due != nil {
			n += tb.due.n
		}
	}
	return n
}

// Freeze copies every dirty entry into b, together with the position of the last commit, so that a batch holds whole
// commits (R11), and returns the number to give to Applied. The entries stay readable in the cache.
func (t *Task) Freeze(b *statestore.Batch, identity Identity) uint64 {
	t.freezeSeq++
	for _, tb := range t.tables {
		for _, e := range tb.dirty {
			e.dirty, e.frozen = false, t.freezeSeq
			if !e.exists && !e.stored {
				continue // came and went between two freezes
			}
			key := tb.storeKey(tb.keyBytes(e))
			if e.exists {
				b.Set(key, tb.value(e, committed))
				if tb.written != nil {
					tb.written.add(maphash.String(keySetSeed, tb.key(e)))
				}
			} else {
				b.Delete(key)
			}
			e.stored = e.exists
		}
		if len(tb.dirty) > 0 {
			tb.freezing = append(tb.freezing, frozen{t.freezeSeq, tb.dirty})
			tb.dirty, tb.spare = tb.spare, nil
		}
	}
	WritePosition(b, t.cfg.Partition, t.Position(identity))
	return t.freezeSeq
}

// Position is that of the last commit.
func (t *Task) Position(identity Identity) Position {
	return Position{Identity: identity, Inputs: t.committed, Changelogs: t.changelog, Time: t.refreshed}
}

// Applied tells the task that the store answers with the values of a freeze and all before it.
func (t *Task) Applied(seq uint64) {
	t.appliedSeq = max(t.appliedSeq, seq)
	for _, tb := range t.tables {
		tb.applied(t.appliedSeq)
	}
	t.evict()
}

// applied forgets the freezes up to one, before the eviction may free their entries.
func (tb *table) applied(seq uint64) {
	n := 0
	for n < len(tb.freezing) && tb.freezing[n].seq <= seq {
		tb.spare = tb.freezing[n].entries[:0]
		n++
	}
	tb.freezing = slices.Delete(tb.freezing, 0, n)
}

// Equal reports whether both identities name the same data.
func (i Identity) Equal(o Identity) bool {
	return i.Format == o.Format && i.Cluster == o.Cluster && i.App == o.App && i.Incarnation == o.Incarnation &&
		i.Partitions == o.Partitions && slices.Equal(i.InputIDs, o.InputIDs) && slices.Equal(i.States, o.States) &&
		slices.Equal(i.ChangelogIDs, o.ChangelogIDs)
}
