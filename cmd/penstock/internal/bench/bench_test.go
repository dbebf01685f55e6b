package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/processor/session"
)

func TestEqualLoadsMakeEqualRecordsThatAreValid(t *testing.T) {
	for _, load := range []Load{
		{Keys: 10, Deposits: 3},
		{Keys: 100_000_000},
		{Keys: 1, Deposits: 1, RecordSize: 500},
		{Keys: 1000, Skew: 1.2, RecordSize: 90},
	} {
		a, b := load.generator(), load.generator()
		deposits := 0
		for range 1000 {
			record, n := a.next(nil)
			again, _ := b.next([]byte("kept"))
			require.Equal(t, "kept"+string(record), string(again))
			tx, err := session.TransactionJSON().Decode(record[n:])
			require.NoError(t, err, "%s", record)
			require.Equal(t, tx.SessionID, string(record[:n]))
			require.GreaterOrEqual(t, len(record)-n, load.RecordSize)
			if tx.Deposit {
				deposits++
			}
		}
		if load.Deposits > 0 {
			require.InEpsilon(t, 1000/load.Deposits, deposits, 0.2)
		} else {
			require.Zero(t, deposits)
		}
	}
}

func TestARecordHasTheSizeAskedFor(t *testing.T) {
	g := Load{Keys: 10, RecordSize: 1000}.generator()
	record, n := g.next(nil)
	require.Len(t, record[n:], 1000)
}

func TestTheHalfIsBetweenTheSamplesAroundIt(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(0, 0).Add(time.Duration(s * float64(time.Second))) }
	samples := []sample{{at(0), 0}, {at(2), 100}, {at(3), 300}}
	require.Equal(t, at(1), crossed(samples, 50))
	require.Equal(t, at(2), crossed(samples, 100))
	require.Equal(t, at(2.5), crossed(samples, 200))
	require.Equal(t, at(3), crossed(samples, 300))
}

func TestResultsOfAKeyAreThoseOfItsRecordsInOrder(t *testing.T) {
	f := newFlight(true)
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	f.counts = at(-1)
	f.land(&kgo.Record{Key: []byte("a")}, at(0)) // from before
	f.depart([]byte("a"), at(0))
	f.depart([]byte("b"), at(1))
	f.depart([]byte("a"), at(2))
	for i, key := range []string{"a", "a", "b"} {
		f.land(&kgo.Record{Key: []byte(key)}, at(10+i))
	}
	require.Equal(t, []time.Duration{10 * time.Millisecond, 9 * time.Millisecond, 11 * time.Millisecond}, f.delays)
	require.NoError(t, f.await(t.Context()))
}

func TestRatiosAreThoseOfRunsBesideEachOther(t *testing.T) {
	r := Report{
		FloorRuns:     []Throughput{{RecordsPerSecond: 100}, {RecordsPerSecond: 10}, {RecordsPerSecond: 1000}},
		ProcessorRuns: []Throughput{{RecordsPerSecond: 90}, {RecordsPerSecond: 9}, {RecordsPerSecond: 500}},
		Exact:         true,
	}
	r.summarize()
	require.Equal(t, 0.9, r.Ratio.RecordsPerSecond)
	require.Equal(t, 100.0, r.Floor.RecordsPerSecond)
	var out strings.Builder
	require.NoError(t, r.JSON(&out))
	require.Contains(t, out.String(), `"exact":true`)
	require.Equal(t, 1, strings.Count(out.String(), "\n"))
}

func TestFaultsOfTheConfigurationAreToldTogether(t *testing.T) {
	err := Config{Load: Load{Skew: 0.5}, Runs: 0}.Validate()
	for _, word := range []string{"records", "keys", "partitions", "skew", "runs"} {
		require.ErrorContains(t, err, word)
	}
}
