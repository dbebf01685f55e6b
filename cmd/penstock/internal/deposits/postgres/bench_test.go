package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/cmd/penstock/internal/deposits"
	"github.com/penstock/penstock/cmd/penstock/internal/deposits/postgres"
	"github.com/penstock/penstock/cmd/penstock/internal/deposits/sinktest"
	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/integration/pgtest"
)

// BenchmarkWrite stores batches of 20,000 deposits of 8 partitions, as the loop does under load.
func BenchmarkWrite(b *testing.B) {
	const partitions, perPartition = 8, 2500
	sink, err := postgres.New(pgtest.Start(b).Database("UTF8"), quiet)
	require.NoError(b, err)
	defer sink.Close()
	require.NoError(b, sink.Prepare(b.Context()))
	begin := map[int32]int64{}
	for p := range int32(partitions) {
		begin[p] = 0
	}
	claims, err := sink.Claim(b.Context(), sinktest.Source, "a", begin)
	require.NoError(b, err)
	batch := &deposits.Batch{Source: sinktest.Source, Owner: "a", Progress: map[int32]deposits.Progress{}}
	amount, now := decimal.MustParse("123.45"), time.Now()
	rows := 0
	for b.Loop() {
		batch.Deposits = batch.Deposits[:0]
		for p, c := range claims {
			for o := range int64(perPartition) {
				batch.Deposits = append(batch.Deposits, deposits.Deposit{Partition: p, Offset: c.Next + o,
					SessionID: fmt.Sprint("session-", o), Amount: amount, Reason: "deposit", ClosedAt: now})
			}
			batch.Progress[p] = deposits.Progress{First: c.Next, Next: c.Next + perPartition, Epoch: c.Epoch}
			claims[p] = deposits.Claim{Next: c.Next + perPartition, Epoch: c.Epoch}
		}
		require.NoError(b, sink.Write(b.Context(), batch))
		rows += len(batch.Deposits)
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}
