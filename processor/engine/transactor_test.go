package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/processor/engine"
)

// A tool that writes by a Transactor, and after an error goes on with a new one from the offsets that it finds, writes each record
// once: also where a coordinator loses the ends of transactions.
func TestATransactorWritesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.careless()
	open := func() *engine.Transactor {
		x, err := engine.NewTransactor(t.Context(), w.config(t.TempDir()), engine.TransactorConfig{ID: "tool", Group: "tool", Topics: []string{output, "gone"}, Timeout: 10 * time.Second})
		require.NoError(t, err)
		return x
	}
	adm := kadm.NewClient(w.client)
	progress := func() int {
		listed, err := adm.FetchOffsets(kadm.RequireStable(t.Context()), "tool")
		require.NoError(t, err)
		at, ok := listed.Lookup(input, 0)
		require.NoError(t, at.Err)
		if !ok {
			return 0
		}
		require.Equal(t, fmt.Sprint("at ", at.At), at.Metadata)
		return int(at.At)
	}
	const all, batch = 300, 10
	x, errs := open(), 0
	for n := 0; n < all; {
		var records []*kgo.Record
		for i := range batch {
			records = append(records, &kgo.Record{Topic: output, Partition: int32(i % 4), Key: fmt.Append(nil, n+i), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}})
		}
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: input, Partition: 0, At: int64(n + batch), LeaderEpoch: -1, Metadata: fmt.Sprint("at ", n+batch)})
		if err := x.Do(t.Context(), records, offsets); err != nil {
			errs++
			x.Close()
			x = open()
			n = progress()
			continue
		}
		n += batch
	}
	x.Close()
	got := w.read(func(_ map[string][]string, n int) bool { return n >= all })
	require.Len(t, got, all)
	for key, values := range got {
		require.Equal(t, []string{"v"}, values, key)
	}
	require.NotZero(t, errs)
	require.NotZero(t, c.told)
	t.Logf("%d errors, %d ends said again", errs, c.told)
}
