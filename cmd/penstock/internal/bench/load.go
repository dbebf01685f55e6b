package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Load says which records are made. Equal loads make equal records.
type Load struct {
	Records    int     `json:"records"`
	Keys       int     `json:"keys"`
	Deposits   int     `json:"deposit_one_in"` // 0: none
	RecordSize int     `json:"record_size_bytes"`
	Partitions int     `json:"partitions"`
	Skew       float64 `json:"zipf_skew"` // 0: all keys alike
}

// generator makes records, one after the other.
type generator struct {
	load Load
	rng  *rand.Rand
	zipf *rand.Zipf
	pad  []byte
	n    int
}

func (l Load) generator() *generator {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], uint64(l.Keys))
	g := &generator{load: l, rng: rand.New(rand.NewChaCha8(seed))}
	if l.Skew > 1 && l.Keys > 1 {
		g.zipf = rand.NewZipf(g.rng, l.Skew, 1, uint64(l.Keys-1))
	}
	for range l.RecordSize {
		g.pad = append(g.pad, byte('a'+g.rng.IntN(26)))
	}
	return g
}

// next appends the key, and after it the value, of the next record to dst.
func (g *generator) next(dst []byte) (out []byte, key int) {
	g.n++
	return g.record(dst, g.pick(), g.load.Deposits > 0 && g.rng.IntN(g.load.Deposits) == 0)
}

func (g *generator) pick() uint64 {
	if g.zipf != nil {
		return g.zipf.Uint64()
	}
	return g.rng.Uint64N(uint64(g.load.Keys))
}

// record appends a record of the given session; key is the length of its key.
func (g *generator) record(dst []byte, id uint64, deposit bool) (out []byte, key int) {
	start := len(dst)
	dst = append(dst, "session-"...)
	for limit := uint64(10_000_000); id < limit/10 && limit > 10; limit /= 10 {
		dst = append(dst, '0')
	}
	dst = strconv.AppendUint(dst, id, 10)
	key = len(dst) - start
	value := len(dst)
	dst = append(append(dst, `{"sessionId":"`...), dst[start:start+key]...)
	cents := 1 + g.rng.IntN(9999)
	dst = strconv.AppendInt(append(dst, `","winAmount":`...), int64(cents/100), 10)
	dst = append(dst, '.', byte('0'+cents/10%10), byte('0'+cents%10))
	dst = strconv.AppendBool(append(dst, `,"deposit":`...), deposit)
	const field = `,"note":""}`
	if n := g.load.RecordSize - (len(dst) - value) - len(field); n > 0 {
		from := g.rng.IntN(n + 1) // notes that differ, so that they do not vanish in compression
		dst = append(append(append(dst, `,"note":"`...), g.pad[from:n]...), g.pad[:from]...)
		dst = append(dst, '"')
	}
	return append(dst, '}'), key
}

// Slabs of a producer.
const (
	slabBytes   = 256 << 10
	slabRecords = 1024
)

// producer sends generated records.
type producer struct {
	cl     *kgo.Client
	topic  string
	bytes  []byte
	slab   []kgo.Record
	failed atomic.Pointer[error]
}

func newProducer(ctx context.Context, conn *kafka.Connection, topic string, linger time.Duration) (*producer, error) {
	cl, err := conn.Client(ctx, kgo.ProducerLinger(linger), kgo.MaxBufferedRecords(200_000),
		kgo.ProducerBatchCompression(kgo.Lz4Compression(), kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	return &producer{cl: cl, topic: topic}, nil
}

// send sends what write appends, a key of so many bytes and its value, and returns the key.
func (p *producer) send(ctx context.Context, room int, write func(dst []byte) (out []byte, key int)) []byte {
	if cap(p.bytes)-len(p.bytes) < room {
		p.bytes = make([]byte, 0, max(slabBytes, room))
	}
	if len(p.slab) == 0 {
		p.slab = make([]kgo.Record, slabRecords)
	}
	r := &p.slab[0]
	p.slab = p.slab[1:]
	start := len(p.bytes)
	var key int
	p.bytes, key = write(p.bytes)
	r.Topic, r.Key, r.Value = p.topic, p.bytes[start:start+key:start+key], p.bytes[start+key:len(p.bytes):len(p.bytes)]
	p.cl.Produce(ctx, r, p.sent)
	return r.Key
}

func (p *producer) sent(_ *kgo.Record, err error) {
	if err != nil {
		p.failed.CompareAndSwap(nil, &err)
	}
}

func (p *producer) flush(ctx context.Context) error {
	if err := p.cl.Flush(ctx); err != nil {
		return fmt.Errorf("send to topic %s: %w", p.topic, err)
	}
	if err := p.failed.Load(); err != nil {
		return fmt.Errorf("send to topic %s: %w", p.topic, *err)
	}
	return nil
}

// room is what a record takes at most.
func (l Load) room() int { return 2*l.RecordSize + 256 }

// Fill sends all records of the load to a topic.
func (l Load) Fill(ctx context.Context, conn *kafka.Connection, topic string) error {
	p, err := newProducer(ctx, conn, topic, 5*time.Millisecond)
	if err != nil {
		return err
	}
	defer p.cl.Close()
	g := l.generator()
	for range l.Records {
		p.send(ctx, l.room(), g.next)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return p.flush(ctx)
}

// FillKeys sends one record for each key, none a deposit.
func (l Load) FillKeys(ctx context.Context, conn *kafka.Connection, topic string, keys int) error {
	p, err := newProducer(ctx, conn, topic, 5*time.Millisecond)
	if err != nil {
		return err
	}
	defer p.cl.Close()
	g := l.generator()
	for i := range keys {
		p.send(ctx, l.room(), func(dst []byte) ([]byte, int) { return g.record(dst, uint64(i), false) })
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return p.flush(ctx)
}
