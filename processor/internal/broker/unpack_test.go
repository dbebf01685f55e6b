package broker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"
)

// frame compresses by LZ4.
func frame(t require.TestingT, content []byte, options ...lz4.Option) []byte {
	var buf bytes.Buffer
	w := lz4.NewWriter(&buf)
	require.NoError(t, w.Apply(options...))
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func records(n int) (b []byte) {
	for i := range n {
		b = fmt.Appendf(b, `{"sessionId":"session-%d","winAmount":%d.%02d}`, rand.IntN(1000), i%97, i%100)
	}
	return b
}

func TestFramesOfProducersAreExpanded(t *testing.T) {
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for name, content := range map[string][]byte{"empty": {}, "short": []byte("a"), "records": records(20_000), "random": random,
		"mixed": append(records(3000), random...), "zeros": make([]byte, 5<<20)} {
		for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block4Mb} {
			for _, sum := range []bool{false, true} {
				src := frame(t, content, lz4.BlockSizeOption(size), lz4.ChecksumOption(sum))
				got, ok := expand(nil, src, unpackMost)
				require.True(t, ok, name)
				require.Equal(t, len(content), len(got), name)
				require.True(t, bytes.Equal(content, got), name)
			}
		}
	}
	content := records(1000)
	src := frame(t, content, lz4.SizeOption(uint64(len(content))))
	got, ok := expand(nil, src, unpackMost)
	require.True(t, ok)
	require.Equal(t, content, got)
}

func TestOtherFramesAreTheClients(t *testing.T) {
	content := records(20_000)
	for name, src := range map[string][]byte{
		"block checksums": frame(t, content, lz4.BlockChecksumOption(true)),
		"legacy":          frame(t, content, lz4.LegacyOption(true)),
		"two frames":      append(frame(t, content[:1000]), frame(t, content[1000:])...),
	} {
		_, ok := expand(nil, src, unpackMost)
		require.False(t, ok, name)
		want, err := kgo.DefaultDecompressor().Decompress(src, kgo.CodecLz4)
		require.NoError(t, err, name)
		got, err := newUnpacker(kgo.DefaultDecompressor(), unpackMost).Decompress(src, kgo.CodecLz4)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	got, err := newUnpacker(kgo.DefaultDecompressor(), unpackMost).Decompress([]byte("as it is"), kgo.CodecNone)
	require.NoError(t, err)
	require.Equal(t, "as it is", string(got))
}

// A damaged frame never panics, takes no more memory than its lengths say, and what is expanded is what the client expands too.
func TestDamagedFrames(t *testing.T) {
	whole := frame(t, records(300), lz4.ChecksumOption(false))
	rapid.Check(t, func(t *rapid.T) {
		src := bytes.Clone(whole[:rapid.IntRange(0, len(whole)).Draw(t, "length")])
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			if len(src) > 0 {
				src[rapid.IntRange(0, len(src)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			}
		}
		got, ok := expand(nil, src, unpackMost)
		if !ok {
			return
		}
		want, err := kgo.DefaultDecompressor().Decompress(src, kgo.CodecLz4)
		if err == nil { // the client looks at the header's checksum too
			require.True(t, bytes.Equal(want, got))
		}
	})
}

// A batch that would fill the memory is refused, whatever packed it.
func TestAnExpandedBatchIsBounded(t *testing.T) {
	const most = 10 << 20
	cl, err := kgo.NewClient(kgo.MaxDecompressBatchBytes(most))
	require.NoError(t, err)
	defer cl.Close()
	u := newUnpacker(cl.OptValue(kgo.WithDecompressor).(kgo.Decompressor), most)
	for content, want := range map[int]error{most: nil, most + 1: kgo.ErrMaxDecompress, 64 << 20: kgo.ErrMaxDecompress} {
		got, err := u.Decompress(frame(t, make([]byte, content)), kgo.CodecLz4)
		require.ErrorIs(t, err, want)
		if want == nil {
			require.Len(t, got, content)
		}
	}
}

func BenchmarkUnpack(b *testing.B) {
	src := frame(b, records(20_000), lz4.ChecksumOption(true))
	for name, d := range map[string]kgo.Decompressor{"client": kgo.DefaultDecompressor(), "own": newUnpacker(kgo.DefaultDecompressor(), unpackMost)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dst, err := d.Decompress(src, kgo.CodecLz4)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(dst)))
			}
		})
	}
}
