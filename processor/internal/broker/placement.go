package broker

import "github.com/twmb/franz-go/pkg/kgo"

// Placement knows which partition the default partitioner, murmur2 of the key, would choose. It belongs to one goroutine.
type Placement struct {
	partitioner kgo.TopicPartitioner
	record      kgo.Record
}

// NewPlacement makes one.
func NewPlacement() *Placement {
	return &Placement{partitioner: kgo.StickyKeyPartitioner(nil).ForTopic("")}
}

// Of is the partition of a key that is not nil.
func (p *Placement) Of(key []byte, partitions int32) int32 {
	p.record.Key = key
	return int32(p.partitioner.Partition(&p.record, int(partitions)))
}

// PartitionOf is Of for one key, for any goroutine.
func PartitionOf(key []byte, partitions int32) int32 { return NewPlacement().Of(key, partitions) }
