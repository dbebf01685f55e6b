package processor

import (
	"errors"
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/internal/topology"
)

// Table is a read-only copy of a whole topic, all its partitions, on the disk of every process: a key's row is the topic's
// last value of that key, and a null value deletes it. It is what a record is enriched from when the two are keyed
// differently; where they share key and partitions, a second [Handle] that keeps its values in a [State] is exact and cheaper.
//
// The copy is complete before the first record is handled, and then follows the topic, committed records only. It lies in
// the state directory with its position, so that a start reads what it lacks; a topic that was recreated, cut or is
// ahead by more than its tombstones live is read anew, and meanwhile no record is handled.
//
// A lookup is no part of the transaction. Each record takes effect once, by the rows that its handler saw; but what it saw
// is whatever the copy held at that moment: another process, or the same record handled again after a crash, may see newer
// rows. What is computed from a row is therefore not repeatable from the inputs alone. Where it must be, use a State.
//
// A key's row is looked for where the default partitioner, murmur2 of the key, puts it, and then where other partitioners
// have put any. The topic should be compacted: what retention deletes stays in the copies that have read it.
type Table[T any] struct {
	app   *App
	index int
	codec codec.Codec[T]
}

// NewTable declares a table. Its topic belongs to others: it may be neither an input nor an output, and may have any
// number of partitions.
func NewTable[T any](a *App, topic string, c codec.Codec[T]) Table[T] {
	t := Table[T]{app: a, index: len(a.tables), codec: c}
	if !validName.MatchString(topic) {
		a.fault("table topic %q is not a topic name", topic)
	}
	for _, other := range a.tables {
		if other == topic {
			a.fault("two tables copy topic %q", topic)
		}
	}
	a.tables = append(a.tables, topic)
	return t
}

// Get returns the row of a key, which need not be the record's, and whether there is one; the zero value if not. A row that
// does not decode rejects the record that asked for it, with the reason [ReasonTable]: none is enriched with nothing in
// silence, and once the row is right the dead letter can be replayed.
func (t Table[T]) Get(c *Context, key string) (T, bool) {
	var zero T
	if !c.owns(t.app) {
		return zero, false
	}
	raw, ok, err := c.rt.Lookup(t.index, []byte(key))
	if err != nil {
		c.fail(err)
		return zero, false
	}
	if !ok {
		return zero, false
	}
	v, err := t.codec.Decode(raw)
	switch {
	case err == nil:
		return v, true
	case errors.Is(err, codec.ErrUnavailable):
		c.fail(fmt.Errorf("decode the row of table %s, key %q: %w", t.app.tables[t.index], key, err))
	default:
		c.reject(&topology.Rejection{Reason: ReasonTable,
			Err: fmt.Errorf("the row of table %s, key %q, does not decode: %w", t.app.tables[t.index], key, err)})
	}
	return zero, false
}
