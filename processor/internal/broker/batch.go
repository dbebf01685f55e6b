package broker

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/processor/internal/topology"
)

// recordBatch is a batch of one partition in the making, as it will lie on the broker: a header and records, Kafka's message
// format 2 (https://kafka.apache.org/documentation/#recordbatch).
type recordBatch struct {
	to      *outPartition
	tracker *Tracker // that follows the partition; nil: nobody does
	buf     []byte   // room for the header, and the records; once sealed, the batch
	records int32

	first, last int64 // timestamps: of the first record, and the largest
	unknown     int   // how often the broker did not know the partition
}

// batchHeader is the size of a batch's header.
const batchHeader = 61

func (b *recordBatch) reset() {
	*b = recordBatch{buf: append(b.buf[:0], make([]byte, batchHeader)...)}
}

// add appends a record, unless the batch were larger than limit with it.
func (b *recordBatch) add(o *Out, limit int) bool {
	if b.records == 0 {
		b.first, b.last = o.Timestamp, o.Timestamp
	}
	since := o.Timestamp - b.first
	size := 1 + kbin.VarlongLen(since) + kbin.VarintLen(b.records) + nullableLen(o.Key) + nullableLen(o.Value) + kbin.VarintLen(int32(len(o.Headers)))
	for i := range o.Headers {
		size += headerLen(&o.Headers[i])
	}
	if len(b.buf)+kbin.VarintLen(int32(size))+size > limit {
		return false
	}
	buf := kbin.AppendVarint(b.buf, int32(size))
	buf = append(buf, 0) // attributes, of which none is used
	buf = kbin.AppendVarlong(buf, since)
	buf = kbin.AppendVarint(buf, b.records) // the offset, from the batch's
	buf = kbin.AppendVarintBytes(buf, o.Key)
	buf = kbin.AppendVarintBytes(buf, o.Value)
	buf = kbin.AppendVarint(buf, int32(len(o.Headers)))
	for i := range o.Headers {
		buf = kbin.AppendVarintString(buf, o.Headers[i].Key)
		buf = kbin.AppendVarintBytes(buf, o.Headers[i].Value)
	}
	b.buf = buf
	b.records++
	b.last = max(b.last, o.Timestamp)
	return true
}

func headerLen(h *topology.Header) int {
	return kbin.VarintLen(int32(len(h.Key))) + len(h.Key) + nullableLen(h.Value)
}

// nullableLen is how many bytes kbin.AppendVarintBytes appends.
func nullableLen(v []byte) int {
	if v == nil {
		return 1
	}
	return kbin.VarintLen(int32(len(v))) + len(v)
}

// sender is who a batch is from.
type sender struct {
	id            int64
	epoch         int16
	transactional bool
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal packs the records, where that makes them fewer bytes, and writes the header. nil packs nothing; scratch is overwritten.
func (b *recordBatch) seal(pack kgo.Compressor, scratch *bytes.Buffer, from sender, sequence int32) {
	var attributes uint16
	if pack != nil {
		scratch.Reset()
		packed, codec := pack.Compress(scratch, b.buf[batchHeader:])
		if codec >= 0 && len(packed) < len(b.buf)-batchHeader {
			b.buf = append(b.buf[:batchHeader], packed...)
			attributes = uint16(codec)
		}
	}
	if from.transactional {
		attributes |= 1 << 4
	}
	h := b.buf[:0]
	h = binary.BigEndian.AppendUint64(h, 0) // the offset is the broker's
	h = binary.BigEndian.AppendUint32(h, uint32(len(b.buf)-12))
	h = binary.BigEndian.AppendUint32(h, ^uint32(0)) // the leader's epoch is the broker's too
	h = append(h, 2, 0, 0, 0, 0)                     // the format, and room for the checksum
	h = binary.BigEndian.AppendUint16(h, attributes)
	h = binary.BigEndian.AppendUint32(h, uint32(b.records-1))
	h = binary.BigEndian.AppendUint64(h, uint64(b.first))
	h = binary.BigEndian.AppendUint64(h, uint64(b.last))
	h = binary.BigEndian.AppendUint64(h, uint64(from.id))
	h = binary.BigEndian.AppendUint16(h, uint16(from.epoch))
	h = binary.BigEndian.AppendUint32(h, uint32(sequence))
	binary.BigEndian.AppendUint32(h, uint32(b.records))
	binary.BigEndian.PutUint32(b.buf[17:], crc32.Checksum(b.buf[21:], castagnoli))
}
