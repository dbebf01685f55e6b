package pebblestore

import (
	"log/slog"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options are how a store is opened. The zero value works.
type Options struct {
	// MemoryBytes bounds block cache and memtables together, whatever the number of keys. Default: 64 MiB. A batch on its
	// way is counted once it is applied; batches below an eighth of the bound keep the process near to it.
	MemoryBytes int64
	FS          vfs.FS       // default: the operating system's
	Logger      *slog.Logger // default: slog.Default()
}

// Limits of a store.
const (
	defaultMemory = 64 << 20
	// memtableBytes is the size of one memtable. A batch of more than half of it is one of its own, which costs no skip list;
	// but each lets an empty one of this size wait for the next small batch.
	memtableBytes = 2 << 20
	maxOpenFiles  = 128 // file descriptors of tables; a handful more are open for the manifest and writes
	// Sublevels of level 0. Each holds about one batch, and a read of a missing key asks the filter of each. The lower
	// the first bound, the cheaper reads are and the dearer writes: each compaction rewrites what the batches overlap.
	compactSublevels = 12
	maxSublevels     = 40 // at which Apply waits for a compaction

	blockBytes      = 8 << 10
	tableBytes      = 8 << 20 // of level 0's tables; each deeper level's are twice as large, up to 64 MiB
	bloomBitsPerKey = 10      // 1 % of the reads of a missing key look at a table
	worthPercent    = 50      // of a block that its compression must save
	never           = 1 << 20 // of a threshold at which Pebble would block without a way out
)

func (o Options) withDefaults() Options {
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = defaultMemory
	}
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// memtables bounds what is applied and not yet written out. Pebble takes its memory out of the block cache's.
func (o Options) memtables() int64 { return max(2*memtableBytes, o.MemoryBytes/2) }

// pebble returns Pebble's options. Its own write stalls are out of reach: they end only when a flush succeeds, which on a
// full disk is never, so Apply waits itself (see Store.admit).
func (o Options) pebble(h *health) *pebble.Options {
	p := &pebble.Options{
		FS:                          &gate{FS: o.FS, health: h},
		DisableWAL:                  true,
		CacheSize:                   o.MemoryBytes,
		MemTableSize:                memtableBytes,
		MemTableStopWritesThreshold: never,
		MaxOpenFiles:                maxOpenFiles,
		L0CompactionThreshold:       compactSublevels,
		L0StopWritesThreshold:       never,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      h,
		EventListener:               h.events(),
		CompactionConcurrencyRange:  func() (int, int) { return 1, max(1, min(2, runtime.GOMAXPROCS(0)/2)) },
	}
	// Pebble's default scheduler has a goroutine that looks every 100 ms whether one more compaction may run; an Open that
	// fails late never ends it. This one looks when a compaction begins or ends.
	p.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	p.TargetFileSizes[0] = tableBytes
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings {
		c := pebble.UniformDBCompressionSettings(worthwhile())
		c.Levels[0] = sstable.NoCompression // soon compacted
		return c
	})
	for i := range p.Levels {
		p.Levels[i].BlockSize = blockBytes
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
		p.Levels[i].FilterType = pebble.TableFilter
	}
	return p
}

// worthwhile is the compression of what compresses well, such as values of JSON, found by samples. Each read of a block
// that is not in the cache expands the whole block for one key: for small binary values that costs more than it saves.
func worthwhile() *sstable.CompressionProfile {
	return &sstable.CompressionProfile{
		Name:        "worthwhile",
		DataBlocks:  sstable.SnappyCompression.DataBlocks,
		ValueBlocks: sstable.SnappyCompression.ValueBlocks,
		OtherBlocks: sstable.NoCompression.OtherBlocks,

		MinReductionPercent:            worthPercent,
		AdaptiveReductionCutoffPercent: worthPercent,
	}
}
