package engine

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/reset"
	"github.com/penstock/penstock/processor/internal/statedir"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore/pebblestore"
	"github.com/twmb/franz-go/pkg/sasl"
	"go.opentelemetry.io/otel/trace"
)

// Config is how and where an App runs. Brokers alone must be set; [Config.Validate] names every fault at once.
type Config struct {
	Brokers []string // host:port
	TLS     *tls.Config
	SASL    sasl.Mechanism
	// Dial opens connections to the brokers, through a proxy say, in place of TLS and the usual way. TLS then only helps to
	// explain why they cannot be reached.
	Dial func(ctx context.Context, network, host string) (net.Conn, error)

	// ClientID is what the brokers call this process, in quotas and logs. Default: the application and the instance.
	ClientID string
	// Rack is where this process is, as the brokers' broker.rack has it: records are read from a replica there.
	Rack string
	// Compression of what is written: "snappy" (the default), "lz4", "zstd", "gzip" or "none".
	Compression string

	// StateDir is this process's own directory. Default: see statedir.DefaultPath.
	StateDir string
	// Instance is the static member id, unique in the application. Default: kept in StateDir.
	Instance string
	// Workers is how many transactional producers share the partitions. Default: one a core, at least two.
	Workers int
	// MemoryBytes bounds the caches and the store together. Default: 64 MiB.
	MemoryBytes int64
	// TableMemoryBytes bounds the memory of all tables together, beside MemoryBytes. Default: 32 MiB where there are any.
	TableMemoryBytes int64
	// TableDiskBytes is how large the copy of one table may become on disk; beyond it Run returns an error, before the state
	// has no room. Default: no limit.
	TableDiskBytes int64

	Guarantee Guarantee
	BadInput  BadInput
	From      From // where a partition without a committed offset begins

	// CommitInterval is the longest a transaction lasts while records keep coming. Default: 300 ms. With nothing more
	// to read it is committed at once.
	CommitInterval time.Duration
	// SessionTimeout is how long the group waits for a silent member. Default: 10 s.
	SessionTimeout time.Duration
	// TransactionTimeout is how long the broker waits for a silent transaction; at most SessionTimeout, the default.
	TransactionTimeout time.Duration

	// CreateTopics lets Run create the App's own inputs and outputs where they are missing, with Partitions (default 4)
	// and ReplicationFactor (default: the broker's). Changelogs and dead letters are created in any case.
	CreateTopics      bool
	Partitions        int32
	ReplicationFactor int16

	// Standby is how many warm copies of each partition the other members keep, so that a takeover has little to restore.
	Standby int

	// Stay keeps the membership at a stop, for a restart within SessionTimeout without a rebalance.
	Stay bool

	Logger *slog.Logger // default: slog.Default()
	// Ready is called when a partition begins to be processed. May be nil.
	Ready func(partition int32)
	// Monitor shows how Run fares. May be nil.
	Monitor *Monitor
	// Tracer follows records through their transaction: those whose headers carry a trace context (W3C traceparent), which
	// goes on to what is emitted, and TraceRatio of the others. May be nil: nothing is traced.
	Tracer     trace.TracerProvider
	TraceRatio float64
	// Queries answers for the App's committed state. May be nil.
	Queries *Queries
	// Advertise is where other processes of the application reach the handler of Queries: host:port, or a URL such as
	// https://host:port. Without it they cannot answer for this one's partitions.
	Advertise string

	seams
}

// seams are a test's ways into an engine; the zero value is everyone else's.
type seams struct {
	step          func(worker.Step) error // see worker.Config
	resetStep     func(reset.Step) error  // see reset.Config
	purgeAge      time.Duration           // with purgeInterval
	purgeInterval time.Duration           // 0: the constant of that name
	// openStore opens the store elsewhere than in the state directory.
	openStore func(app string, o pebblestore.Options) (*pebblestore.Store, error)
	// openTable opens a table's store likewise.
	openTable func(topic string, o pebblestore.Options) (*pebblestore.Store, error)
	// flushInterval is how long committed state waits for the store at most, and then to be durable there.
	flushInterval time.Duration
	readBytes     int32 // see restore.Config
}

// Guarantee is how often a record takes effect.
type Guarantee int

const (
	ExactlyOnce Guarantee = iota
	// AtLeastOnce needs no transactions; after a crash a record's effects may be there twice.
	AtLeastOnce
)

// ParseGuarantee reads "exactly-once" or "at-least-once".
func ParseGuarantee(s string) (Guarantee, error) {
	return parse[Guarantee]("guarantee", s, "exactly-once", "at-least-once")
}

// BadInput is what happens to a rejected record.
type BadInput int

const (
	DeadLetter BadInput = iota // it goes to APP-dead-letters
	Skip                       // it is counted, logged and passed over
	Fail                       // Run returns an error that names the place
)

// ParseBadInput reads "dlq", "skip" or "fail".
func ParseBadInput(s string) (BadInput, error) {
	return parse[BadInput]("bad input", s, "dlq", "skip", "fail")
}

// From is where a partition without a committed offset begins.
type From int

const (
	FromStart From = iota
	FromEnd
)

// ParseFrom reads "start" or "end".
func ParseFrom(s string) (From, error) { return parse[From]("from", s, "start", "end") }

func parse[T ~int](what, s string, names ...string) (T, error) {
	for i, n := range names {
		if s == n {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("%s %q: use one of %q", what, s, names)
}

func (c Config) withDefaults() Config {
	if c.Workers == 0 {
		c.Workers = max(2, runtime.GOMAXPROCS(0))
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 64 << 20
	}
	if c.TableMemoryBytes == 0 {
		c.TableMemoryBytes = 32 << 20
	}
	if c.Compression == "" {
		c.Compression = "snappy"
	}
	if c.CommitInterval == 0 {
		c.CommitInterval = 300 * time.Millisecond
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 10 * time.Second
	}
	if c.TransactionTimeout == 0 {
		c.TransactionTimeout = c.SessionTimeout
	}
	if c.Partitions == 0 {
		c.Partitions = 4
	}
	if c.ReplicationFactor == 0 {
		c.ReplicationFactor = -1
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Validate returns every fault of c, joined, or nil.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	bad := func(when bool, format string, args ...any) {
		if when {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	bad(!broker.KnowsCompression(c.Compression), "compression %q: use snappy, lz4, zstd, gzip or none", c.Compression)
	bad(len(c.Brokers) == 0, "no brokers: name at least one as host:port")
	bad(c.Workers < 1 || c.Workers > 256, "workers %d: use 1 to 256", c.Workers)
	bad(c.MemoryBytes < leastMemory, "memory %d bytes: use at least 16 MiB", c.MemoryBytes)
	bad(c.TableMemoryBytes < 8<<20, "table memory %d bytes: use at least 8 MiB", c.TableMemoryBytes)
	bad(c.TableDiskBytes < 0, "table disk %d bytes is negative", c.TableDiskBytes)
	bad(c.CommitInterval < 0, "commit interval %v is negative", c.CommitInterval)
	bad(c.SessionTimeout < time.Second, "session timeout %v: use at least 1s", c.SessionTimeout)
	bad(c.TransactionTimeout > c.SessionTimeout, "transaction timeout %v is longer than session timeout %v: a takeover would wait for it", c.TransactionTimeout, c.SessionTimeout)
	bad(c.CommitInterval > c.TransactionTimeout/2, "commit interval %v is longer than half the transaction timeout %v", c.CommitInterval, c.TransactionTimeout)
	bad(c.Standby < 0, "standby %d: use 0 or more", c.Standby)
	bad(!advertisable(c.Advertise), "advertise %q: use host:port or a URL such as https://host:port, that others can reach", c.Advertise)
	bad(c.TraceRatio < 0 || c.TraceRatio > 1, "trace ratio %v: use 0 to 1", c.TraceRatio)
	bad(c.Partitions < 1, "partitions %d: use at least 1", c.Partitions)
	return errors.Join(faults...)
}

// broker is how the brokers are reached, by name where the configuration gives none.
func (c Config) broker(name string) broker.Config {
	return broker.Config{Seeds: c.Brokers, ClientID: cmp.Or(c.ClientID, name), Rack: c.Rack, Compression: c.Compression,
		TLS: c.TLS, SASL: c.SASL, Dial: c.Dial, Logger: c.Logger, Traffic: c.Monitor.inner().Traffic()}
}

// DefaultStateDir is where an application's state lies unless [Config.StateDir] says otherwise.
func DefaultStateDir(app string) string { return statedir.DefaultPath(app) }
