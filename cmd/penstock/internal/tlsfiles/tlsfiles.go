// Package tlsfiles keeps TLS in step with its PEM files: one that has changed is read again at the next handshake, so that
// a renewed certificate needs no restart. While a changed file cannot be read, what was in force stays.
package tlsfiles

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Files are paths of PEM files. Each may be empty; Cert and Key go together.
type Files struct {
	CA        string // authorities that are believed; empty: the system's
	Cert, Key string // the own certificate and its key
}

// Source is what the files hold. It is safe for concurrent use.
type Source struct {
	files Files
	warn  func(error) // a changed file that cannot be read, once for each change

	mu     sync.Mutex
	loaded content
	warned [3]stamp
}

// content is what was read last.
type content struct {
	stamps [3]stamp
	fresh  bool // a file was so new that a further change of it may have the same stamp
	roots  *x509.CertPool
	pair   *tls.Certificate
}

// tick is how coarse a file system's times may be.
const tick = 2 * time.Second

// stamp tells a file's contents from others that it had.
type stamp struct {
	changed time.Time
	size    int64
}

// Open reads the files. warn may be nil.
func Open(files Files, warn func(error)) (*Source, error) {
	if (files.Cert == "") != (files.Key == "") {
		return nil, errors.New("a certificate and its key go together: one of the two is missing")
	}
	if warn == nil {
		warn = func(error) {}
	}
	s := &Source{files: files, warn: warn}
	var err error
	s.loaded, err = files.read()
	return s, err
}

// Client is the configuration of one connection to a server.
func (s *Source) Client() *tls.Config {
	c := s.current()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots}
	if c.pair != nil {
		cfg.Certificates = []tls.Certificate{*c.pair}
	}
	return cfg
}

// Server is the configuration of a server; each handshake takes the certificate in force.
func (s *Source) Server() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current().pair, nil }}
}

// dialTimeout bounds a connection and its handshake.
const dialTimeout = 10 * time.Second

// Dial connects by TLS with what is in force.
func (s *Source) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return (&tls.Dialer{Config: s.Client()}).DialContext(ctx, network, addr)
}

// ErrOther says that who answered shows another certificate than the one that is expected.
var ErrOther = errors.New("another certificate")

// DialHolder returns a function that connects by TLS to whoever holds the key of the first certificate in a PEM file, by
// whatever name and authority: a process of this machine that serves with that file. The file is read at each connection.
func DialHolder(cert string) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	if _, err := first(cert); err != nil {
		return nil, err
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		want, err := first(cert)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		cfg := &tls.Config{MinVersion: tls.VersionTLS12,
			InsecureSkipVerify: true, // #nosec G402 -- the certificate itself is compared, which says more than its name
			VerifyConnection: func(c tls.ConnectionState) error {
				if len(c.PeerCertificates) == 0 || !bytes.Equal(c.PeerCertificates[0].Raw, want) {
					return fmt.Errorf("%s shows %w than that of %s", addr, ErrOther, cert)
				}
				return nil
			}}
		return (&tls.Dialer{Config: cfg}).DialContext(ctx, network, addr)
	}, nil
}

// first returns the first certificate of a PEM file, in DER.
func first(path string) ([]byte, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("%s holds no certificate", path)
		}
		if block.Type == "CERTIFICATE" {
			return block.Bytes, nil
		}
	}
}

// current reads the files again where one has changed.
func (s *Source) current() content {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamps, err := s.files.stamps()
	if err == nil && stamps == s.loaded.stamps && !s.loaded.fresh {
		return s.loaded
	}
	fresh, err := s.files.read()
	if err == nil {
		s.loaded = fresh
		return fresh
	}
	if s.warned != stamps {
		s.warned = stamps
		s.warn(fmt.Errorf("TLS files have changed and cannot be used; those from before stay in force: %w", err))
	}
	return s.loaded
}

func (f Files) stamps() (all [3]stamp, err error) {
	for i, path := range []string{f.CA, f.Cert, f.Key} {
		if path == "" {
			continue
		}
		info, statErr := os.Stat(path)
		if statErr != nil {
			err = errors.Join(err, statErr)
			continue
		}
		all[i] = stamp{info.ModTime(), info.Size()}
	}
	return all, err
}

// read takes the stamps first: a file that changes while it is read is read again.
func (f Files) read() (c content, err error) {
	if c.stamps, err = f.stamps(); err != nil {
		return c, err
	}
	for _, s := range c.stamps {
		c.fresh = c.fresh || time.Since(s.changed) < tick
	}
	if f.CA != "" {
		raw, err := os.ReadFile(f.CA)
		if err != nil {
			return c, err
		}
		c.roots = x509.NewCertPool()
		if !c.roots.AppendCertsFromPEM(raw) {
			return c, fmt.Errorf("%s holds no certificate", f.CA)
		}
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return c, fmt.Errorf("%s, %s: %w", f.Cert, f.Key, err)
		}
		c.pair = &pair
	}
	return c, nil
}
