package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
)

// certificate makes one that is its own authority, and its PEM file.
func certificate(t *testing.T, ip net.IP, names ...string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, DNSNames: names}
	if ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// F53: each kind of wrong connection has a message of its own, within 10 s, without a secret.
func TestWrongConnectionsAreNamed(t *testing.T) {
	at := func(opts ...kfake.Opt) string {
		c, err := kfake.NewCluster(append(opts, kfake.NumBrokers(1), kfake.SeedTopics(1, "transactions", "session-updates"))...)
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c.ListenAddrs()[0]
	}
	loopback := net.IPv4(127, 0, 0, 1)
	right, rightCA := certificate(t, loopback, "localhost")
	other, otherCA := certificate(t, nil, "kafka.example")
	plain := at()
	secure := at(kfake.TLS(&tls.Config{Certificates: []tls.Certificate{right}}))
	elsewhere := at(kfake.TLS(&tls.Config{Certificates: []tls.Certificate{other}}))
	login := at(kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "penstock", "correct-secret"), kfake.Superuser("PLAIN", "penstock", "correct-secret"))
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"plain to TLS", []string{"--brokers", secure}, "speaks TLS: add --tls"},
		{"TLS to plain", []string{"--brokers", plain, "--tls"}, "does not speak TLS: leave --tls out"},
		{"unknown authority", []string{"--brokers", secure, "--tls-ca", otherCA}, "authority that is not known here: give its PEM file as --tls-ca"},
		{"wrong host name", []string{"--brokers", elsewhere, "--tls-ca", otherCA}, "is for other names (kafka.example), not for 127.0.0.1"},
		{"wrong password", []string{"--brokers", login, "--sasl", "scram-sha-256", "--sasl-user", "penstock"}, "the log-in by SCRAM-SHA-256: wrong user or password"},
		{"wrong password, plain", []string{"--brokers", login, "--sasl", "plain", "--sasl-user", "penstock"}, "the log-in by PLAIN: wrong user or password"},
		{"no log-in", []string{"--brokers", login}, "it may ask for a log-in (--sasl)"},
		{"nobody there", []string{"--brokers", "127.0.0.1:1"}, "nobody listens at 127.0.0.1:1"},
		{"unknown name", []string{"--brokers", "no-such-host.invalid:9092"}, "the name no-such-host.invalid is not known"},
	} {
		for _, verb := range [][]string{{"run", "--state-dir", t.TempDir()}, {"tail"}} {
			t.Run(c.name+" "+verb[0], func(t *testing.T) {
				t.Parallel()
				began := time.Now()
				p := startWith(t, []string{"PENSTOCK_SASL_PASSWORD=mistyped-secret", "PENSTOCK_LOG_LEVEL=debug"}, "", append(verb, c.args...)...)
				p.end(t, exitFailure)
				require.Less(t, time.Since(began), 10*time.Second)
				require.Contains(t, p.stderr.String(), c.says)
				require.NotContains(t, p.stderr.String(), "mistyped-secret")
			})
		}
	}
	p := start(t, "", "run", "--state-dir", t.TempDir(), "--brokers", secure, "--tls-ca", rightCA, "--http", "127.0.0.1:0")
	base := "http://" + p.stderr.await(t, `msg=http address=(\S+)`)[1]
	require.Eventually(t, func() bool { code, _ := ask(t, base+"/readyz", ""); return code == 200 }, 20*time.Second, 20*time.Millisecond)
	p.stop()
	p.end(t, 0)
}
