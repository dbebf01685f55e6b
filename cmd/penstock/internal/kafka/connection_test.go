package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles/tlstest"
)

// A client that lives on takes up renewed files at its next connection: the authority of the brokers, and its own
// certificate, which the brokers ask for.
func TestAConnectionTakesUpRenewedFiles(t *testing.T) {
	dir := t.TempDir()
	files := tlsfiles.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	tlstest.Write(t, files, "first")
	seen := make(chan string, 100)
	addr := mutual(t, files, seen)
	c := &Connection{Brokers: []string{addr}, CA: files.CA, Cert: files.Cert, Key: files.Key, Login: Login{SASL: "none"}}
	cl, err := c.Client(t.Context())
	require.NoError(t, err)
	defer cl.Close()
	require.Equal(t, "first", <-seen)

	tlstest.Write(t, files, "second")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("v")}).FirstErr()) // by a connection of its own
	name := ""
	for len(seen) > 0 {
		name = <-seen
	}
	require.Equal(t, "second", name)
}

// mutual starts a broker that shows the certificate of the files, as they are at each handshake, and asks for the same.
func mutual(t *testing.T, files tlsfiles.Files, seen chan<- string) string {
	t.Helper()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, err
		}
		raw, err := os.ReadFile(files.CA)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(raw)
		return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert,
			VerifyConnection: func(s tls.ConnectionState) error {
				seen <- s.PeerCertificates[0].Subject.CommonName
				return nil
			}}, nil
	}}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.TLS(cfg))
	require.NoError(t, err)
	t.Cleanup(cluster.Close)
	return cluster.ListenAddrs()[0]
}
