package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/penstock/penstock/cmd/penstock/internal/settings"
)

// Login is who the brokers are told that this is.
type Login struct {
	SASL     string // one of mechanisms
	User     string
	Password string
	OAuth    OAuth
}

// OAuth is where a bearer token comes from: exactly one of TokenFile, Command and URL.
type OAuth struct {
	TokenFile string // read at each log-in
	Command   string // prints a token; words are parted by blanks
	URL       string // of the client-credentials grant, with the user as client id
	Secret    string
	Scope     string
	// Extensions are sent beside the token, as key=value.
	Extensions []string
}

var mechanisms = []string{"none", "plain", "scram-sha-256", "scram-sha-512", "oauthbearer", "aws-msk-iam"}

// tokenTimeout bounds the making of a token.
const tokenTimeout = 10 * time.Second

func (l *Login) flags(cmd *cobra.Command, fs *pflag.FlagSet) {
	settings.Choice(cmd, fs, &l.SASL, "sasl", mechanisms, "how to log in")
	fs.StringVar(&l.User, "sasl-user", "", "user to log in as; the client id of oauthbearer")
	fs.StringVar(&l.Password, "sasl-password", "", "the user's password; better given as PENSTOCK_SASL_PASSWORD")
	settings.Secret(fs, "sasl-password")
	fs.StringVar(&l.OAuth.TokenFile, "sasl-oauth-token-file", "", "file with the token of oauthbearer, read at each log-in")
	fs.StringVar(&l.OAuth.Command, "sasl-oauth-command", "", "command that prints the token of oauthbearer")
	fs.StringVar(&l.OAuth.URL, "sasl-oauth-url", "", "address that gives the token of oauthbearer for client credentials")
	fs.StringVar(&l.OAuth.Secret, "sasl-oauth-secret", "", "client secret; better given as PENSTOCK_SASL_OAUTH_SECRET")
	settings.Secret(fs, "sasl-oauth-secret")
	fs.StringVar(&l.OAuth.Scope, "sasl-oauth-scope", "", "scopes to ask for, parted by blanks")
	fs.StringSliceVar(&l.OAuth.Extensions, "sasl-oauth-extensions", nil, "key=value, sent to the brokers beside the token")
}

// Mechanism is nil without a log-in.
func (l *Login) Mechanism() (sasl.Mechanism, error) {
	switch l.SASL {
	case "plain":
		return plain.Auth{User: l.User, Pass: l.Password}.AsMechanism(), nil
	case "scram-sha-256":
		return scram.Auth{User: l.User, Pass: l.Password}.AsSha256Mechanism(), nil
	case "scram-sha-512":
		return scram.Auth{User: l.User, Pass: l.Password}.AsSha512Mechanism(), nil
	case "oauthbearer":
		return l.bearer()
	case "aws-msk-iam":
		return aws.ManagedStreamingIAM(awsCredentials), nil
	}
	return nil, nil
}

func (l *Login) bearer() (sasl.Mechanism, error) {
	extensions := map[string]string{}
	for _, e := range l.OAuth.Extensions {
		key, value, ok := strings.Cut(e, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("sasl-oauth-extensions %q: use key=value", e)
		}
		extensions[key] = value
	}
	token, err := l.tokens()
	if err != nil {
		return nil, err
	}
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		t, err := token(ctx)
		if err == nil && t == "" {
			err = errors.New("it is empty")
		}
		if err != nil {
			return oauth.Auth{}, fmt.Errorf("token of oauthbearer: %w", err)
		}
		return oauth.Auth{Token: t, Extensions: extensions}, nil
	}), nil
}

// tokens is where a token comes from at each log-in.
func (l *Login) tokens() (func(context.Context) (string, error), error) {
	given := 0
	for _, s := range []string{l.OAuth.TokenFile, l.OAuth.Command, l.OAuth.URL} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return nil, fmt.Errorf("sasl oauthbearer needs one source of its token, and has %d: --sasl-oauth-token-file, --sasl-oauth-command or --sasl-oauth-url", given)
	}
	switch {
	case l.OAuth.TokenFile != "":
		return func(context.Context) (string, error) {
			raw, err := os.ReadFile(l.OAuth.TokenFile)
			return strings.TrimSpace(string(raw)), err
		}, nil
	case l.OAuth.Command != "":
		return l.OAuth.run, nil
	}
	return l.grant()
}

// run asks the command.
func (o *OAuth) run(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
	defer cancel()
	words := strings.Fields(o.Command)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) // #nosec G204 -- naming it is what the setting is for
	var says bytes.Buffer
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", words[0], err, bytes.TrimSpace(says.Bytes()))
	}
	return string(bytes.TrimSpace(out)), nil
}

// grant asks an authorisation server by client credentials (RFC 6749, 4.4); a token is used again until shortly before
// its end.
func (l *Login) grant() (func(context.Context) (string, error), error) {
	if err := guarded(l.OAuth.URL); err != nil {
		return nil, err
	}
	cfg := clientcredentials.Config{ClientID: l.User, ClientSecret: l.OAuth.Secret, TokenURL: l.OAuth.URL, Scopes: strings.Fields(l.OAuth.Scope)}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Timeout: tokenTimeout})
	tokens := cfg.TokenSource(ctx)
	return func(context.Context) (string, error) {
		t, err := tokens.Token()
		if err != nil {
			return "", err
		}
		return t.AccessToken, nil
	}, nil
}

// guarded refuses an address that would take a secret over a network in plain text.
func guarded(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return fmt.Errorf("sasl-oauth-url: %w", err)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return fmt.Errorf("sasl-oauth-url %s: use https, since the client secret goes there", address)
}
