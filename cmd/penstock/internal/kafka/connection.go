// Package kafka is how the program's commands reach the brokers and read whole topics.
package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/processor/engine"
)

// Connection is where the brokers are and how to be let in.
type Connection struct {
	Brokers []string
	ID      string // of the client; empty: what the command is called
	Rack    string

	TLS           bool
	CA, Cert, Key string // paths of PEM files

	Login

	// Warn is told of TLS files that have changed and cannot be read. May be nil.
	Warn func(error)
}

// Flags declares the connection's flags.
func (c *Connection) Flags(cmd *cobra.Command, fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.Brokers, "brokers", []string{"localhost:9092"}, "brokers to begin with, host:port")
	fs.StringVar(&c.ID, "client-id", "", "name by which the brokers know this client, for quotas and their logs (default: application and instance)")
	fs.StringVar(&c.Rack, "rack", "", "where this process is, as the brokers' broker.rack has it: reads go to a replica there")
	fs.BoolVar(&c.TLS, "tls", false, "connect by TLS")
	fs.StringVar(&c.CA, "tls-ca", "", "PEM file of the authority that signed the brokers' certificates (default: the system's); read again when it changes")
	fs.StringVar(&c.Cert, "tls-cert", "", "PEM file of the client's certificate; read again when it changes")
	fs.StringVar(&c.Key, "tls-key", "", "PEM file of the client's key")
	c.Login.flags(cmd, fs)
}

// Configure puts the connection into what the library takes.
func (c *Connection) Configure(cfg *engine.Config) error {
	files, tlsErr := c.files()
	if files != nil {
		cfg.TLS, cfg.Dial = files.Client(), files.Dial
	}
	var err error
	cfg.SASL, err = c.Mechanism()
	cfg.Brokers, cfg.ClientID, cfg.Rack = c.Brokers, c.ID, c.Rack
	return errors.Join(tlsErr, err)
}

// files is nil without TLS.
func (c *Connection) files() (*tlsfiles.Source, error) {
	if !c.TLS && c.CA == "" && c.Cert == "" && c.Key == "" {
		return nil, nil
	}
	files, err := tlsfiles.Open(tlsfiles.Files{CA: c.CA, Cert: c.Cert, Key: c.Key}, c.Warn)
	if err != nil {
		return nil, fmt.Errorf("tls-ca, tls-cert, tls-key: %w", err)
	}
	return files, nil
}

// reachTimeout bounds the first contact with the brokers.
const reachTimeout = 7 * time.Second

// Client makes a client and makes sure that a broker answers.
func (c *Connection) Client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	var cfg engine.Config
	if err := c.Configure(&cfg); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID(cmp.Or(cfg.ClientID, "penstock-cli")), kgo.Rack(cfg.Rack), kgo.DisableClientMetrics()}
	if cfg.Dial != nil {
		opts = append(opts, kgo.Dialer(cfg.Dial))
	}
	if cfg.SASL != nil {
		opts = append(opts, kgo.SASL(cfg.SASL))
	}
	cl, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, err
	}
	ping, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := cl.Ping(ping); err != nil {
		cl.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, engine.ExplainUnreachable(ctx, cfg, err)
	}
	return cl, nil
}

// ErrNoTopic says that a topic does not exist.
var ErrNoTopic = errors.New("does not exist")

// MaxMessageBytes is a topic's max.message.bytes, 0 where the brokers do not tell.
func MaxMessageBytes(ctx context.Context, cl *kgo.Client, topic string) int {
	configs, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return 0
	}
	for _, c := range configs {
		for _, entry := range c.Configs {
			if n, err := strconv.Atoi(entry.MaybeValue()); entry.Key == "max.message.bytes" && err == nil {
				return n
			}
		}
	}
	return 0
}

// Partitions counts a topic's partitions, or returns an error that wraps ErrNoTopic.
func Partitions(ctx context.Context, cl *kgo.Client, topic string) (int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	if len(resp.Topics) != 1 {
		return 0, fmt.Errorf("describe topic %s: %d answers", topic, len(resp.Topics))
	}
	err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return 0, fmt.Errorf("topic %s %w", topic, ErrNoTopic)
	}
	if err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	return int32(len(resp.Topics[0].Partitions)), nil
}
