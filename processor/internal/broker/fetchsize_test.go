package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What is fetched ahead is shared by the sessions of a process, and by the brokers that each of them asks.
func TestWhatIsFetchedAheadIsShared(t *testing.T) {
	for _, c := range []struct {
		sessions, brokers int
		want              int32
	}{{0, 0, 512 << 10}, {1, 1, 512 << 10}, {2, 1, 256 << 10}, {2, 3, 85 << 10}, {8, 3, 64 << 10}, {64, 30, 64 << 10}} {
		require.InDelta(t, c.want, newFetchSize(c.sessions, c.brokers).bytes, 1<<10, "%+v", c)
	}
}

func TestAFetchIsBoundedByItsMemory(t *testing.T) {
	f := newFetchSize(2, 1)
	batch := func(packed, unpacked, records int) int32 {
		f.OnFetchBatchRead(kgo.BrokerMetadata{}, "in", 0, kgo.FetchBatchMetrics{CompressedBytes: packed, UncompressedBytes: unpacked, NumRecords: records})
		bytes, _ := f.fit()
		return bytes
	}
	require.EqualValues(t, fetchMostBytes, batch(200_000, 200_000, 2000), "as they are")
	small := batch(100_000, 450_000, 6000)
	require.InDelta(t, 4<<20, float64(small)/100_000*float64(450_000+6000*recordBytes), 100_000, "small ones, packed")
	require.Equal(t, small, batch(100_000, 460_000, 6100), "about the same")
	require.Equal(t, small, batch(1000, 1_000_000, 1), "too little to tell")
	require.EqualValues(t, fetchLeastBytes, batch(100_000, 100_000_000, 1000), "packed a thousand times")
	require.EqualValues(t, fetchMostBytes, batch(1_000_000, 1_000_000, 0))
}
