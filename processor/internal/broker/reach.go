package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// probeTimeout bounds one look at a broker that could not be reached.
const probeTimeout = 2 * time.Second

// Explain says why brokers could not be reached, as far as a look at their ports tells. No secret is in the answer.
func Explain(ctx context.Context, cfg Config, err error) error {
	guess := explainLogin(cfg, err)
	if guess == "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		guess = probe(ctx, cfg)
	}
	if guess == "" {
		return fmt.Errorf("reach brokers %s: %w", strings.Join(cfg.Seeds, ","), err)
	}
	return &ReachError{strings.Join(cfg.Seeds, ","), guess, err}
}

// ReachError is a connection that cannot come about, and the likely cause.
type ReachError struct {
	Brokers, Guess string
	Err            error
}

func (e *ReachError) Error() string {
	return fmt.Sprintf("reach brokers %s: %s (%v)", e.Brokers, e.Guess, e.Err)
}

func (e *ReachError) Unwrap() error { return e.Err }

func explainLogin(cfg Config, err error) string {
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Sprintf("the brokers refuse the log-in by %s: wrong user or password, or the user is not known for this mechanism", cfg.SASL.Name())
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Sprintf("the brokers do not take SASL mechanism %s: use one that their listener has", cfg.SASL.Name())
	}
	return ""
}

// probe looks at the first broker that answers at all.
func probe(ctx context.Context, cfg Config) string {
	guess := ""
	for _, addr := range cfg.Seeds {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			guess = explainDial(addr, err)
			continue
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline)
		}
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		if cfg.TLS != nil {
			return probeTLS(ctx, conn, cfg, addr, host)
		}
		return probePlain(ctx, conn, cfg, addr, host)
	}
	return guess
}

func explainDial(addr string, err error) string {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the name %s is not known", dns.Name)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("nobody answers at %s within %v: wrong address, or a firewall", addr, probeTimeout)
	}
	return fmt.Sprintf("nobody listens at %s", addr)
}

func probeTLS(ctx context.Context, conn net.Conn, cfg Config, addr, host string) string {
	c := cfg.TLS.Clone()
	if c.ServerName == "" {
		c.ServerName = host
	}
	err := tls.Client(conn, c).HandshakeContext(ctx)
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var alert tls.AlertError
	switch {
	case err == nil && cfg.SASL == nil:
		return fmt.Sprintf("%s speaks TLS and then ends the connection: it may ask for a log-in (--sasl) or a client certificate (--tls-cert)", addr)
	case err == nil:
		return endsLogin(cfg, addr)
	case errors.As(err, &authority):
		return fmt.Sprintf("the certificate of %s is signed by an authority that is not known here: give its PEM file as --tls-ca", addr)
	case errors.As(err, &name):
		return fmt.Sprintf("the certificate of %s is for other names (%s), not for %s: use one of these as broker address", addr, strings.Join(namesOf(name.Certificate), ", "), c.ServerName)
	case errors.As(err, &invalid):
		return fmt.Sprintf("the certificate of %s is not valid: %v", addr, invalid)
	case errors.As(err, &alert):
		return fmt.Sprintf("%s refuses the TLS handshake: %v; it may ask for a client certificate (--tls-cert, --tls-key)", addr, err)
	}
	return fmt.Sprintf("%s does not speak TLS: leave --tls out, or use the brokers' TLS port", addr)
}

func namesOf(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		names = append(names, c.Subject.CommonName)
	}
	return names
}

func probePlain(ctx context.Context, conn net.Conn, cfg Config, addr, host string) string {
	// Only whether TLS is spoken is asked; nothing is sent over it.
	err := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: host, MinVersion: tls.VersionTLS12}).HandshakeContext(ctx) // #nosec G402 -- see above
	var alert tls.AlertError
	switch {
	case err == nil, errors.As(err, &alert):
		return fmt.Sprintf("%s speaks TLS: add --tls, or use the brokers' plain port", addr)
	case cfg.SASL == nil:
		return fmt.Sprintf("%s listens but ends the connection: it may ask for a log-in (--sasl), or be no Kafka broker", addr)
	}
	return endsLogin(cfg, addr)
}

func endsLogin(cfg Config, addr string) string {
	return fmt.Sprintf("%s ends the connection at the log-in by %s: wrong user or password, or a listener without log-in", addr, cfg.SASL.Name())
}
