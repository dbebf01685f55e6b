package broker

import (
	"sync"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
)

// fetchSize is how much a session asks a broker for at a time. The broker counts bytes as they lie on it; in memory a record takes more: what
// it is expanded to, and the client's account of it, so that small ones well packed take twenty times as much. The bound follows what the last fetches took.
type fetchSize struct {
	bytes  int32 // asked for, as they lie on the broker
	memory int   // which one fetch may take

	mu                        sync.Mutex
	packed, unpacked, records int64 // since the last fit
}

// What a fetch is bounded by.
const (
	fetchAllMemory  = 8 << 20   // one fetch of each session and broker together; there may be two, one that is stepped and the next
	fetchMostBytes  = 512 << 10 // one fetch
	fetchLeastBytes = 64 << 10
	fetchPartitions = 2 // of a fetch that may be of one partition, 1 in so many bytes

	recordBytes = int64(unsafe.Sizeof(kgo.Record{}) + unsafe.Sizeof(&kgo.Record{}))
)

// newFetchSize begins with what records well packed may have.
func newFetchSize(sessions, brokers int) *fetchSize {
	const packing = 16
	f := &fetchSize{memory: fetchAllMemory / max(1, sessions) / max(1, brokers)}
	f.bytes = f.within(f.memory / packing)
	return f
}

func (f *fetchSize) within(bytes int) int32 {
	return int32(min(fetchMostBytes, max(fetchLeastBytes, bytes)))
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (f *fetchSize) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.packed += int64(m.CompressedBytes)
	f.unpacked += int64(m.UncompressedBytes)
	f.records += int64(m.NumRecords)
}

// fit returns what to ask for from now on, and whether that is much else than before.
func (f *fetchSize) fit() (bytes int32, changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.packed < fetchLeastBytes {
		return f.bytes, false // too little to tell
	}
	takes := f.unpacked + recordBytes*f.records
	want := f.within(int(float64(f.memory) * float64(f.packed) / float64(max(1, takes))))
	f.packed, f.unpacked, f.records = 0, 0, 0
	if difference := want - f.bytes; max(difference, -difference) < f.bytes/8 {
		return f.bytes, false
	}
	f.bytes = want
	return want, true
}
