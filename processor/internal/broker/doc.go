// Package broker is the one place under processor/ that imports the Kafka client. It offers what the engine needs in
// plain types and decides nothing:
//
//	Cluster  questions and changes: topics, offsets, committed offsets, creation, one raw fetch
//	Member   membership in the consumer group, and nothing else
//	Session  one worker's client: reads partitions at given offsets and produces, in transactions or idempotently
//
// A Session reads by the client's consumer. It writes by a producer of its own, which makes the batches and asks for the
// transactions by the client's connections: a Session that met an error is thrown away, so that it needs none of what a
// general producer does to go on after one.
package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
)

// Config is how to reach the brokers.
type Config struct {
	Seeds    []string // host:port
	ClientID string
	Rack     string // empty: unknown
	// Compression of what is produced; see KnowsCompression. Empty: snappy.
	Compression string
	TLS         *tls.Config                                                       // nil: plain text
	SASL        sasl.Mechanism                                                    // nil: none
	Dial        func(ctx context.Context, network, host string) (net.Conn, error) // nil: the usual way; TLS is its own matter then
	Logger      *slog.Logger
	Traffic     *Traffic // counts for all clients; nil: nobody does
}

// metadataMinAge bounds how often the client asks for metadata, and so how long a reader may miss a moved leader. The producer asks by itself.
const metadataMinAge = 250 * time.Millisecond

func (c Config) opts(more ...kgo.Opt) []kgo.Opt {
	o := []kgo.Opt{
		kgo.SeedBrokers(c.Seeds...),
		kgo.ClientID(c.ClientID),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.DisableClientMetrics(),
		kgo.RetryTimeout(30 * time.Second),
		kgo.MaxDecompressBatchBytes(unpackMost),
	}
	if c.Traffic != nil {
		o = append(o, kgo.WithHooks(c.Traffic))
	}
	if c.Logger != nil {
		o = append(o, kgo.WithLogger(&clientLogger{c.Logger}), kgo.WithHooks(&quotas{log: c.Logger}))
	}
	switch {
	case c.Dial != nil:
		o = append(o, kgo.Dialer(c.Dial))
	case c.TLS != nil:
		o = append(o, kgo.DialTLSConfig(c.TLS))
	}
	if c.Rack != "" {
		o = append(o, kgo.Rack(c.Rack))
	}
	if c.SASL != nil {
		o = append(o, kgo.SASL(c.SASL))
	}
	return append(o, more...)
}

var compressions = map[string]kgo.CompressionCodec{"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	"gzip": kgo.GzipCompression(), "none": kgo.NoCompression()}

// compressor packs what is produced; nil packs nothing.
func (c Config) compressor() (kgo.Compressor, error) {
	return kgo.DefaultCompressor(compressions[cmp.Or(c.Compression, "snappy")], kgo.NoCompression())
}

// KnowsCompression reports whether a word names a compression.
func KnowsCompression(word string) bool {
	_, ok := compressions[word]
	return ok
}

// clientLogger passes the client's own errors on at debug level: the engine says itself, once, what matters.
type clientLogger struct{ l *slog.Logger }

func (*clientLogger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (c *clientLogger) Log(_ kgo.LogLevel, msg string, keyvals ...any) {
	c.l.Debug("client: "+msg, keyvals...)
}
