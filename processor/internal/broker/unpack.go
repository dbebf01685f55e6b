package broker

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// unpacker expands fetched batches. The client's own decoder of LZ4 holds a frame's largest block, mostly 4 MiB, beside a copy of all that it expanded, and
// a second one is the answer; a frame as producers write it is expanded here. All else is the client's.
type unpacker struct {
	rest    kgo.Decompressor
	most    int       // bounds an expanded batch
	scratch sync.Pool // of *[]byte, each as large as the largest batch that it held
}

const (
	unpackMost  = 1 << 30  // bounds an expanded batch
	scratchMost = 16 << 20 // bounds a buffer that waits for the next batch
)

// newUnpacker leaves other batches to a client's own decompressor, which has the same bound.
func newUnpacker(rest kgo.Decompressor, most int) *unpacker {
	return &unpacker{rest: rest, most: most, scratch: sync.Pool{New: func() any { return new([]byte) }}}
}

// Decompress implements kgo.Decompressor.
func (u *unpacker) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if codec == kgo.CodecLz4 {
		scratch := u.scratch.Get().(*[]byte)
		expanded, ok := expand((*scratch)[:0], src, u.most)
		if cap(expanded) <= scratchMost {
			*scratch = expanded
			defer u.scratch.Put(scratch)
		}
		if ok {
			return bytes.Clone(expanded), nil
		}
	}
	return u.rest.Decompress(src, codec)
}

// The LZ4 frame, https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md. Numbers are little endian.
const (
	frameMagic = 0x184D2204

	// The byte of flags that follows the magic number.
	frameVersion         = 1 << 6
	frameVersionMask     = 3 << 6
	frameIndependent     = 1 << 5 // blocks do not refer to those before
	frameContentSize     = 1 << 3
	frameContentChecksum = 1 << 2
	frameElse            = 1<<4 | 1<<1 | 1 // block checksums, reserved, a dictionary

	// And of the byte of the block size behind it.
	blockSizeElse = 1<<7 | 15 // reserved

	blockStored = 1 << 31 // in a block's size: it is not compressed
)

// expand appends what an LZ4 frame holds to dst, and returns false for one that is not of the kind that producers write, damaged ones too. It does
// not look at the content's checksum: the batch around it has one of all its bytes. Of more than limit it returns false too.
func expand(dst, src []byte, limit int) ([]byte, bool) {
	const fixed = 4 + 2 + 1 // magic, flags and block size, checksum of the header
	if len(src) < fixed || binary.LittleEndian.Uint32(src) != frameMagic {
		return dst, false
	}
	flags := src[4]
	most := 1 << (8 + 2*(src[5]>>4&7)) // of a block: 64 KiB are 4, 4 MiB are 7
	if flags&frameVersionMask != frameVersion || flags&frameIndependent == 0 || flags&frameElse != 0 || src[5]&blockSizeElse != 0 || most < 64<<10 {
		return dst, false
	}
	header, trailer := fixed, 0
	if flags&frameContentSize != 0 {
		header += 8
	}
	if flags&frameContentChecksum != 0 {
		trailer = 4
	}
	if len(src) < header+trailer {
		return dst, false
	}
	for src = src[header : len(src)-trailer]; ; {
		block, rest, stored, ok := nextBlock(src)
		switch {
		case !ok || len(dst) > limit || len(block) > most:
			return dst, false
		case block == nil:
			return dst, len(rest) == 0
		case stored:
			dst = append(dst, block...)
		default:
			if dst, ok = expandBlock(dst, block, most); !ok {
				return dst, false
			}
		}
		src = rest
	}
}

// nextBlock returns a block and what follows it; nil is the mark of the last one's end.
func nextBlock(src []byte) (block, rest []byte, stored, ok bool) {
	if len(src) < 4 {
		return nil, nil, false, false
	}
	size := binary.LittleEndian.Uint32(src)
	if src = src[4:]; size == 0 {
		return nil, src, false, true
	}
	n := int(size &^ blockStored)
	if n > len(src) {
		return nil, nil, false, false
	}
	return src[:n:n], src[n:], size&blockStored != 0, true
}

// expandBlock appends what a compressed block holds, at most so many bytes. The block does not tell how many: where there is no room for
// them it is tried again with more.
func expandBlock(dst, block []byte, most int) ([]byte, bool) {
	const ratio = 4 // of the first try, where there is no room yet
	if len(dst) == cap(dst) {
		dst = slices.Grow(dst, min(most, ratio*len(block)))
	}
	for {
		room := cap(dst) - len(dst)
		n, err := lz4.UncompressBlock(block, dst[len(dst):cap(dst)])
		if err == nil {
			return dst[:len(dst)+n], n <= most
		}
		if room >= most {
			return dst, false
		}
		dst = slices.Grow(dst, min(most, 2*room))
	}
}
