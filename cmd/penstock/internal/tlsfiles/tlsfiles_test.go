package tlsfiles_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles/tlstest"
)

// A renewed certificate is served, and a renewed authority believed, by processes that go on running.
func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	dir := t.TempDir()
	files := tlsfiles.Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	tlstest.Write(t, files, "first")
	var warnings []string
	warn := func(err error) { warnings = append(warnings, err.Error()) }
	server, err := tlsfiles.Open(tlsfiles.Files{Cert: files.Cert, Key: files.Key}, warn)
	require.NoError(t, err)
	client, err := tlsfiles.Open(files, warn)
	require.NoError(t, err)

	l, err := tls.Listen("tcp", "127.0.0.1:0", server.Server())
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			conn.Close()
		}
	}()
	// served is who answers a client that believes what is in force.
	served := func() (string, error) {
		conn, err := client.Dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName, nil
	}
	is := func(name string) {
		t.Helper()
		got, err := served()
		require.NoError(t, err)
		require.Equal(t, name, got)
	}
	is("first")
	tlstest.Write(t, files, "second")
	is("second")

	whole, err := os.ReadFile(files.CA)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(files.CA, []byte("half written"), 0o600))
	is("second")
	is("second")
	require.Len(t, warnings, 1, "a fault is named once: %v", warnings)
	require.Contains(t, warnings[0], files.CA+" holds no certificate")
	require.NoError(t, os.Remove(files.CA))
	is("second")
	require.NoError(t, os.WriteFile(files.CA, whole, 0o600))
	is("second")
	tlstest.Write(t, files, "third")
	is("third")

	require.NoError(t, os.Remove(files.Key))
	_, err = tlsfiles.Open(files, nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = tlsfiles.Open(tlsfiles.Files{Cert: files.Cert}, nil)
	require.ErrorContains(t, err, "go together")
}
