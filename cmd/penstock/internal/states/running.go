package states

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
)

// Running asks running instances. Any of them answers for all.
type Running struct {
	Endpoints []string // host:port, or URLs
	Token     string
	State     string
	Client    *http.Client // default: http.DefaultClient
}

// Limits of the questions.
const (
	askTimeout = 8 * time.Second  // one question
	askFor     = 30 * time.Second // to come again while there is no answer
	page       = 1000
)

// Get implements Source.
func (r *Running) Get(ctx context.Context, key []byte) (*Entry, error) {
	var e Entry
	found, err := r.ask(ctx, url.Values{"keyBase64": {encode(key)}}, &e)
	if err != nil || !found {
		return nil, err
	}
	return &e, nil
}

// List implements Source.
func (r *Running) List(ctx context.Context, rng Range, fn func(*Entry)) (more bool, err error) {
	q := url.Values{"prefixBase64": {encode(rng.Prefix)}}
	for n := 0; ; {
		limit := page
		if rng.Limit > 0 {
			limit = min(limit, rng.Limit-n)
		}
		q.Set("limit", strconv.Itoa(limit))
		var list struct {
			Entries []*Entry
			More    bool
		}
		if _, err := r.ask(ctx, q, &list); err != nil {
			return false, err
		}
		for _, e := range list.Entries {
			fn(e)
			q.Set("afterBase64", encode(e.Key))
		}
		if n += len(list.Entries); !list.More || n == rng.Limit {
			return list.More, nil
		}
	}
}

// errLater says that an instance has no answer at present.
type errLater struct{ error }

// ask puts one question to the instances in turn until one answers. found is false where there is no value.
func (r *Running) ask(ctx context.Context, q url.Values, into any) (found bool, err error) {
	deadline := time.Now().Add(askFor)
	for {
		var faults []error
		wait := time.Second
		for _, endpoint := range r.Endpoints {
			found, after, err := r.askOne(ctx, endpoint, q, into)
			if err == nil || !errors.As(err, &errLater{}) {
				return found, err
			}
			faults = append(faults, err)
			wait = min(wait, max(after, 100*time.Millisecond))
		}
		if time.Now().Add(wait).After(deadline) {
			return false, errors.Join(faults...)
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (r *Running) askOne(ctx context.Context, endpoint string, q url.Values, into any) (found bool, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	q.Set("encoding", "base64")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base(endpoint)+"/api/v1/state/"+url.PathEscape(r.State)+"?"+q.Encode(), nil)
	if err != nil {
		return false, 0, err
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	client := cmp.Or(r.Client, http.DefaultClient)
	resp, err := client.Do(req)
	if errors.Is(err, tlsfiles.ErrOther) {
		return false, 0, err
	}
	if err != nil {
		return false, time.Second, errLater{err}
	}
	defer client.CloseIdleConnections()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, time.Second, errLater{err}
	}
	var failed struct{ Error string }
	notJSON := json.Unmarshal(raw, &failed)
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return false, time.Duration(seconds) * time.Second, errLater{fmt.Errorf("%s: %s", endpoint, failed.Error)}
	case resp.StatusCode == http.StatusUnauthorized:
		return false, 0, fmt.Errorf("%s asks for a bearer token: give run's as --http-token or PENSTOCK_HTTP_TOKEN", endpoint)
	case notJSON == nil && failed.Error == "" && resp.StatusCode == http.StatusNotFound:
		return false, 0, nil
	case notJSON == nil && failed.Error == "" && resp.StatusCode == http.StatusOK:
		return true, 0, json.Unmarshal(raw, into)
	}
	return false, 0, fmt.Errorf("%s answers %s: %s", endpoint, resp.Status, strings.TrimSpace(string(raw)))
}

func base(endpoint string) string {
	if !strings.Contains(endpoint, "://") {
		endpoint = "http://" + endpoint
	}
	return strings.TrimSuffix(endpoint, "/")
}

// Local is where run's --http address can be reached on its own machine: host:port, or a URL where it is served by TLS.
func Local(address string, secure bool) string {
	if host, port, err := net.SplitHostPort(address); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "localhost"
		}
		address = net.JoinHostPort(host, port)
	}
	if secure {
		return "https://" + address
	}
	return address
}
