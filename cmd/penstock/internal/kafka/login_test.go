package kafka

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// says is what a login sends first.
func says(t *testing.T, l Login, host string) string {
	t.Helper()
	m, err := l.Mechanism()
	require.NoError(t, err)
	_, first, err := m.Authenticate(t.Context(), host)
	require.NoError(t, err)
	return string(first)
}

// RFC 7628, 3.1: a token is taken from its file at each log-in, so that a renewed one counts.
func TestABearerTokenComesFromAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	l := Login{SASL: "oauthbearer", OAuth: OAuth{TokenFile: file, Extensions: []string{"logicalCluster=lkc-1"}}}
	for _, token := range []string{"first", "second"} {
		require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
		require.Equal(t, "n,,\x01auth=Bearer "+token+"\x01logicalCluster=lkc-1\x01\x01", says(t, l, "kafka:9092"))
	}
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	m, err := l.Mechanism()
	require.NoError(t, err)
	_, _, err = m.Authenticate(t.Context(), "kafka:9092")
	require.ErrorContains(t, err, "token of oauthbearer: it is empty")
}

func TestABearerTokenComesFromACommand(t *testing.T) {
	require.Contains(t, says(t, Login{SASL: "oauthbearer", OAuth: OAuth{Command: "printf token-%s 7"}}, "kafka:9092"), "Bearer token-7\x01")
	m, err := (&Login{SASL: "oauthbearer", OAuth: OAuth{Command: "cat /no/such/file"}}).Mechanism()
	require.NoError(t, err)
	_, _, err = m.Authenticate(t.Context(), "kafka:9092")
	require.ErrorContains(t, err, "No such file")
}

// RFC 6749, 4.4: one request for as long as the token lives.
func TestABearerTokenComesFromAnAuthorisationServer(t *testing.T) {
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, secret, _ := r.BasicAuth()
		if r.FormValue("grant_type") != "client_credentials" || user != "penstock" || secret != "s3cret" || r.FormValue("scope") != "kafka read" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"granted-%d","token_type":"Bearer","expires_in":3600}`, asked)
	}))
	defer s.Close()
	l := Login{SASL: "oauthbearer", User: "penstock", OAuth: OAuth{URL: s.URL, Secret: "s3cret", Scope: "kafka read"}}
	m, err := l.Mechanism()
	require.NoError(t, err)
	for range 3 {
		_, first, err := m.Authenticate(t.Context(), "kafka:9092")
		require.NoError(t, err)
		require.Contains(t, string(first), "Bearer granted-1\x01")
	}
	require.Equal(t, 1, asked)
	l.OAuth.Secret = "other"
	m, err = l.Mechanism()
	require.NoError(t, err)
	_, _, err = m.Authenticate(t.Context(), "kafka:9092")
	require.ErrorContains(t, err, "401")
	require.NotContains(t, err.Error(), "other")
}

func TestLoginsThatCannotBe(t *testing.T) {
	for says, o := range map[string]OAuth{
		"has 0":              {},
		"has 2":              {TokenFile: "a", Command: "b"},
		"use https":          {URL: "http://login.example/token"},
		`"x": use key=value`: {TokenFile: "a", Extensions: []string{"x"}},
	} {
		_, err := (&Login{SASL: "oauthbearer", OAuth: o}).Mechanism()
		require.ErrorContains(t, err, says)
	}
}

// The payload that AWS documents for aws-msk-iam: signed for the broker's host and region, with the environment's key.
func TestMSKTakesTheEnvironmentsCredentials(t *testing.T) {
	const host = "b-1.cluster.abc.c2.kafka.eu-west-1.amazonaws.com:9098"
	payload := func() map[string]string {
		var p map[string]string
		require.NoError(t, json.Unmarshal([]byte(says(t, Login{SASL: "aws-msk-iam"}, host)), &p))
		return p
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hidden-key")
	t.Setenv("AWS_SESSION_TOKEN", "session")
	p := payload()
	require.Equal(t, "b-1.cluster.abc.c2.kafka.eu-west-1.amazonaws.com", p["host"])
	require.Equal(t, "kafka-cluster:Connect", p["action"])
	require.True(t, strings.HasPrefix(p["x-amz-credential"], "AKIAEXAMPLE/") && strings.HasSuffix(p["x-amz-credential"], "/eu-west-1/kafka-cluster/aws4_request"), p)
	require.Equal(t, "session", p["x-amz-security-token"])
	require.NotContains(t, fmt.Sprint(p), "hidden-key")

	// As EKS Pod Identity and ECS give them.
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "pod-token" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"AccessKeyId":"ASIAPOD","SecretAccessKey":"k","Token":"t","Expiration":"2030-01-01T00:00:00Z"}`))
	}))
	defer s.Close()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("pod-token"), 0o600))
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", s.URL)
	t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)
	require.True(t, strings.HasPrefix(payload()["x-amz-credential"], "ASIAPOD/"))

	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
	m, err := (&Login{SASL: "aws-msk-iam"}).Mechanism()
	require.NoError(t, err)
	_, _, err = m.Authenticate(t.Context(), host)
	require.ErrorContains(t, err, "no AWS credentials")
}
