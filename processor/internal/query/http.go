package query

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// path is where states are asked for.
const path = "/api/v1/state"

// DefaultLimit is that of a list without one.
const DefaultLimit = 100

// answer is a value as JSON. Exactly one of Key and KeyBase64 is there, and of Value and ValueBase64 where there is a value:
// the first where the key is UTF-8 and the value is JSON.
type answer struct {
	Partition   int32           `json:"partition"`
	Instance    string          `json:"instance"`
	Key         *string         `json:"key,omitempty"`
	KeyBase64   *string         `json:"keyBase64,omitempty"`
	Found       bool            `json:"found"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 *string         `json:"valueBase64,omitempty"`
}

type listAnswer struct {
	Entries []answer `json:"entries"`
	More    bool     `json:"more"`
}

type failure struct {
	Error      string `json:"error"`
	RetryAfter int    `json:"retryAfterSeconds,omitempty"`
}

// toAnswer turns a value into JSON, with binary asked for by base64 alone.
func toAnswer(v Value, binary bool) answer {
	a := answer{Partition: v.Partition, Instance: v.Instance, Found: v.Exists}
	if key := string(v.Key); !binary && utf8.ValidString(key) {
		a.Key = &key
	} else {
		key = encode(v.Key)
		a.KeyBase64 = &key
	}
	switch {
	case !v.Exists:
	case !binary && json.Valid(v.Value):
		a.Value = v.Value
	default:
		value := encode(v.Value)
		a.ValueBase64 = &value
	}
	return a
}

// value reads an answer that was asked for in base64.
func (a *answer) value() (Value, error) {
	v := Value{Partition: a.Partition, Instance: a.Instance, Exists: a.Found}
	if a.KeyBase64 == nil || a.Found && a.ValueBase64 == nil {
		return v, errors.New("the answer has no key or no value in base64")
	}
	var err error
	if v.Key, err = base64.StdEncoding.DecodeString(*a.KeyBase64); err == nil && a.Found {
		v.Value, err = base64.StdEncoding.DecodeString(*a.ValueBase64)
	}
	return v, err
}

// Handler serves, from whatever server current returns, nil before there is one:
//
//	GET /api/v1/state/STATE/KEY             one value; the key's bytes path-escaped
//	GET /api/v1/state/STATE?key=KEY         the same; keyBase64= for any bytes
//	GET /api/v1/state/STATE?prefix=&limit=  the first values in the order of their keys; after= goes on behind a key
//
// 404: no value, or no such state (then with an "error"). 503 with Retry-After: no answer at present. encoding=base64 asks
// for all keys and values in base64.
func Handler(current func() *Server) http.Handler {
	mux := http.NewServeMux()
	serve := func(ask func(s *Server, r *http.Request) (any, int, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s := current()
			if s == nil {
				fail(w, unavailable("the engine is starting or has ended"))
				return
			}
			body, status, err := ask(s, r)
			if err != nil {
				fail(w, err)
				return
			}
			reply(w, status, body)
		}
	}
	mux.HandleFunc("GET "+path+"/{state}/{key...}", serve(func(s *Server, r *http.Request) (any, int, error) {
		return s.serveGet(r, []byte(r.PathValue("key")))
	}))
	mux.HandleFunc("GET "+path+"/{state}", serve(func(s *Server, r *http.Request) (any, int, error) {
		if q := r.URL.Query(); !q.Has("key") && !q.Has("keyBase64") {
			return s.serveList(r)
		}
		key, err := bytesOf(r.URL.Query(), "key")
		if err != nil {
			return nil, 0, err
		}
		return s.serveGet(r, key)
	}))
	return mux
}

// badRequest is the asker's fault.
type badRequest struct{ error }

func bad(format string, args ...any) error { return badRequest{fmt.Errorf(format, args...)} }

func (s *Server) serveGet(r *http.Request, key []byte) (any, int, error) {
	if len(key) == 0 {
		return nil, 0, bad("the key is empty")
	}
	v, err := s.Get(r.Context(), r.PathValue("state"), key, r.Header.Get(hopHeader) == "")
	status := http.StatusOK
	if !v.Exists {
		status = http.StatusNotFound
	}
	return toAnswer(v, binary(r)), status, err
}

func (s *Server) serveList(r *http.Request) (any, int, error) {
	q := r.URL.Query()
	rng := Range{Limit: DefaultLimit}
	var err error
	if rng.Prefix, err = bytesOf(q, "prefix"); err != nil {
		return nil, 0, err
	}
	if rng.After, err = bytesOf(q, "after"); err != nil {
		return nil, 0, err
	}
	hop := r.Header.Get(hopHeader) != ""
	most := MaxLimit
	if hop {
		most++ // by which the asker learns that there are more
	}
	if q.Has("limit") {
		if rng.Limit, err = strconv.Atoi(q.Get("limit")); err != nil || rng.Limit < 1 || rng.Limit > most {
			return nil, 0, bad("limit %q: use 1 to %d", q.Get("limit"), MaxLimit)
		}
	}
	list := listAnswer{Entries: []answer{}}
	var values []Value
	if hop {
		var partitions []int32
		if partitions, err = partitionsOf(q.Get("partitions")); err == nil {
			values, list.More, err = s.ListOf(r.Context(), r.PathValue("state"), partitions, rng)
		}
	} else {
		values, list.More, err = s.List(r.Context(), r.PathValue("state"), rng)
	}
	for _, v := range values {
		list.Entries = append(list.Entries, toAnswer(v, binary(r)))
	}
	return list, http.StatusOK, err
}

func partitionsOf(list string) (partitions []int32, err error) {
	named := map[int64]bool{}
	for _, text := range strings.Split(list, ",") {
		p, err := strconv.ParseInt(text, 10, 32)
		if err != nil || p < 0 {
			return nil, bad("partitions: %q is no partition", text)
		}
		if named[p] {
			return nil, bad("partitions: %d is named twice", p)
		}
		named[p] = true
		partitions = append(partitions, int32(p))
	}
	return partitions, nil
}

// bytesOf reads a parameter, or its base64 form; nil where neither is there.
func bytesOf(q url.Values, name string) ([]byte, error) {
	if text := q.Get(name + "Base64"); text != "" {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, bad("%sBase64: %w", name, err)
		}
		return raw, nil
	}
	if !q.Has(name) {
		return nil, nil
	}
	return []byte(q.Get(name)), nil
}

func binary(r *http.Request) bool { return r.URL.Query().Get("encoding") == "base64" }

func fail(w http.ResponseWriter, err error) {
	var un *UnavailableError
	switch {
	case errors.As(err, &un):
		seconds := max(1, int((un.RetryAfter+time.Second-1)/time.Second))
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		reply(w, http.StatusServiceUnavailable, failure{un.Why, seconds})
	case errors.Is(err, ErrNoState):
		reply(w, http.StatusNotFound, failure{Error: err.Error()})
	case errors.As(err, &badRequest{}):
		reply(w, http.StatusBadRequest, failure{Error: err.Error()})
	default:
		reply(w, http.StatusInternalServerError, failure{Error: err.Error()})
	}
}

// replyTimeout is how long an asker may take to read its answer.
const replyTimeout = 30 * time.Second

func reply(w http.ResponseWriter, status int, body any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(replyTimeout)) // not every writer has one
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(body) // the asker is gone
}
