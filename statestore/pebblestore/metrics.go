package pebblestore

// Metrics is the size of a store.
type Metrics struct {
	DiskBytes     uint64 // of all files
	MemtableBytes uint64
	CacheBytes    int64 // of the block cache, memtables not counted
	Tables        int64 // live table files; at most maxOpenFiles of them are open
	WrittenBytes  uint64
	Sublevels     int // of level 0: how many tables a read may have to look at
}

// Metrics measures the store. It returns the zero value after Close.
func (s *Store) Metrics() (m Metrics) {
	var err error
	if s.enter() != nil {
		return m
	}
	defer s.leave(&err)
	p := s.db.Metrics()
	m = Metrics{
		DiskBytes: p.DiskSpaceUsage(), MemtableBytes: p.MemTable.Size, CacheBytes: p.BlockCache.Size,
		Sublevels: int(p.Levels[0].Sublevels),
	}
	for _, l := range p.Levels {
		m.Tables += l.TablesCount
		m.WrittenBytes += l.TableBytesFlushed + l.TableBytesCompacted
	}
	return m
}
