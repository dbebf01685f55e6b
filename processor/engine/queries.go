package engine

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/processor/internal/query"
)

// Queries answers for the committed state of an application, for any key on any of its processes, while a [Run] that it
// was given to by [Config.Queries] lasts:
//
//	queries := &engine.Queries{}
//	go http.ListenAndServe(":8080", queries.Handler())
//	err := engine.Run(ctx, app, engine.Config{Brokers: brokers, Queries: queries, Advertise: "node-1:8080"})
//
// and elsewhere
//
//	raw, ok, err := queries.Get(ctx, "count", []byte("some page"))
//
// The process that owns the key's partition answers from its state; others ask it over HTTP. A value is the newest
// committed one at some time during the call: never one of an open transaction, never one older than a value that was
// answered before the call, whatever is taken over meanwhile. The owner proves by a heartbeat that it still is the owner
// before it answers, so that a process that was frozen, and wakes, answers nothing. While a partition is being taken over
// there is no answer, but an *[UnavailableError].
//
// The partition of a key is the default partitioner's, murmur2 of the key.
type Queries struct {
	// Token is the bearer token that the other processes' handlers are guarded by, if they are.
	Token string
	// Client asks the other processes. Default: one that follows no redirects.
	Client *http.Client

	server atomic.Pointer[query.Server]
}

// UnavailableError says that a query has no answer at present, and when to ask again.
type UnavailableError = query.UnavailableError

// ErrNoState says that the App has no state of the name that was asked for.
var ErrNoState = query.ErrNoState

// Value is a key and its value, encoded by the state's codec.
type Value struct{ Key, Value []byte }

// Range is the part of a state that [Queries.List] returns.
type Range struct {
	Prefix []byte // of the keys
	After  []byte // only keys above it: the last of the page before
	Limit  int    // at most so many, up to 1000. Default: 100
}

// Get returns the committed value of a key, encoded by the state's codec, and whether there is one.
func (q *Queries) Get(ctx context.Context, state string, key []byte) (value []byte, ok bool, err error) {
	s := q.server.Load()
	if s == nil {
		return nil, false, notRunning()
	}
	v, err := s.Get(ctx, state, key, true)
	return v.Value, v.Exists, err
}

// List returns the first values of a range, over all partitions, in the order of their keys, and whether there are more.
// Each is a value that Get might have returned during the call; together they are no snapshot.
func (q *Queries) List(ctx context.Context, state string, r Range) (values []Value, more bool, err error) {
	s := q.server.Load()
	if s == nil {
		return nil, false, notRunning()
	}
	if r.Limit <= 0 {
		r.Limit = query.DefaultLimit
	}
	found, more, err := s.List(ctx, state, query.Range{Prefix: r.Prefix, After: r.After, Limit: min(r.Limit, query.MaxLimit)})
	for _, v := range found {
		values = append(values, Value{v.Key, v.Value})
	}
	return values, more, err
}

// Handler serves, as JSON:
//
//	GET /api/v1/state/STATE/KEY             {"partition":3,"instance":"node-1","key":"KEY","found":true,"value":{"totalSum":100}}
//	GET /api/v1/state/STATE?key=KEY         the same
//	GET /api/v1/state/STATE?prefix=&limit=  {"entries":[...],"more":false}, in the order of the keys; after=KEY goes on
//
// The key in the path is path-escaped. Keys that are not text are given as keyBase64, prefixBase64, afterBase64, and come
// back as "keyBase64"; a value that is not JSON comes as "valueBase64"; encoding=base64 asks for base64 in any case. The
// status is 404 where there is no value, or with an "error" no such state, and 503 with Retry-After where there is no
// answer at present.
func (q *Queries) Handler() http.Handler { return query.Handler(q.server.Load) }

func notRunning() error {
	return &UnavailableError{Why: "the engine is starting or has ended", RetryAfter: time.Second}
}

// serve answers by cfg until stop is called.
func (q *Queries) serve(cfg query.Config) (stop func()) {
	if q == nil {
		return func() {}
	}
	cfg.Token, cfg.Client = q.Token, q.Client
	if cfg.Client == nil {
		cfg.Client = &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the token goes nowhere else
		}
	}
	q.server.Store(query.New(cfg))
	return func() {
		q.server.Store(nil)
		cfg.Client.CloseIdleConnections()
	}
}

// advertisable reports whether others can be told to ask at an address.
func advertisable(address string) bool {
	if address == "" {
		return true
	}
	if strings.Contains(address, "://") {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" {
			return false
		}
		return u.Hostname() != "" && u.User == nil && u.RawQuery == ""
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || port == "0" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsUnspecified()
}
