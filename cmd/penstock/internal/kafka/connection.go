// Package kafka is how the program's commands reach the brokers and read whole topics.
package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/penstock/penstock/cmd/penstock/internal/settings"
	"github.com/penstock/penstock/processor/engine"
)

// Connection is where the brokers are and how to be let in.
type Connection struct {
	Brokers []string

	TLS           bool
	CA, Cert, Key string // paths of PEM files
	SASL          string
	User          string
	Password      string
}

var mechanisms = []string{"none", "plain", "scram-sha-256", "scram-sha-512"}

// Flags declares the connection's flags.
func (c *Connection) Flags(cmd *cobra.Command, fs *pflag.FlagSet) {
	fs.StringSliceVar(&c.Brokers, "brokers", []string{"localhost:9092"}, "brokers to begin with, host:port")
	fs.BoolVar(&c.TLS, "tls", false, "connect by TLS")
	fs.StringVar(&c.CA, "tls-ca", "", "PEM file of the authority that signed the brokers' certificates (default: the system's)")
	fs.StringVar(&c.Cert, "tls-cert", "", "PEM file of the client's certificate")
	fs.StringVar(&c.Key, "tls-key", "", "PEM file of the client's key")
	settings.Choice(cmd, fs, &c.SASL, "sasl", mechanisms, "how to log in")
	fs.StringVar(&c.User, "sasl-user", "", "user to log in as")
	fs.StringVar(&c.Password, "sasl-password", "", "the user's password; better given as PENSTOCK_SASL_PASSWORD")
	settings.Secret(fs, "sasl-password")
}

// TLSConfig is nil without TLS.
func (c *Connection) TLSConfig() (*tls.Config, error) {
	if !c.TLS && c.CA == "" && c.Cert == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("tls-ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls-ca: %s holds no certificate", c.CA)
		}
	}
	if c.Cert != "" || c.Key != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("tls-cert, tls-key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// Mechanism is nil without SASL.
func (c *Connection) Mechanism() sasl.Mechanism {
	switch c.SASL {
	case "plain":
		return plain.Auth{User: c.User, Pass: c.Password}.AsMechanism()
	case "scram-sha-256":
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha256Mechanism()
	case "scram-sha-512":
		return scram.Auth{User: c.User, Pass: c.Password}.AsSha512Mechanism()
	}
	return nil
}

// reachTimeout bounds the first contact with the brokers.
const reachTimeout = 7 * time.Second

// Client makes a client and makes sure that a broker answers.
func (c *Connection) Client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	opts := []kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID("penstock-cli"), kgo.DisableClientMetrics()}
	t, err := c.TLSConfig()
	if err != nil {
		return nil, err
	}
	if t != nil {
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	if m := c.Mechanism(); m != nil {
		opts = append(opts, kgo.SASL(m))
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
		return nil, engine.ExplainUnreachable(ctx, engine.Config{Brokers: c.Brokers, TLS: t, SASL: c.Mechanism()}, err)
	}
	return cl, nil
}

// ErrNoTopic says that a topic does not exist.
var ErrNoTopic = errors.New("does not exist")

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
