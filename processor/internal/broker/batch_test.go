package broker

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkBatch is a record's part of a batch, packed.
func BenchmarkBatch(b *testing.B) {
	outs := make([]Out, 4096)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range outs {
		id := rng.IntN(100_000)
		outs[i] = Out{Key: fmt.Appendf(nil, "session-%07d", id), Timestamp: time.Now().UnixMilli(),
			Value: fmt.Appendf(nil, `{"sessionId":"session-%07d","currentBalance":%d.%02d,"depositCurrentBalance":false}`, id, rng.IntN(10_000), rng.IntN(100))}
	}
	batch := &recordBatch{}
	batch.reset()
	pack, err := Config{}.compressor()
	require.NoError(b, err)
	var scratch bytes.Buffer
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !batch.add(&outs[i%len(outs)], 256<<10) {
			batch.seal(pack, &scratch, sender{}, 0)
			batch.reset()
		}
		i++
	}
}
