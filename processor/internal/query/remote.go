package query

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"golang.org/x/sync/errgroup"
)

// How old an answer of the group may be: where nothing speaks against it, and where an owner did not answer.
const (
	ownersAge   = 2 * time.Second
	ownersRetry = 100 * time.Millisecond
)

// owner is an instance and where it answers.
type owner struct{ instance, address string }

// owners knows who owns which partition, as the group last said.
type owners struct {
	list func(ctx context.Context) ([]broker.GroupMember, error)

	mu    sync.Mutex // held while the group is asked: others wait for the same answer
	asked time.Time
	valid time.Duration // how old the answer may become
	of    map[int32]owner
}

// find returns a partition's owner.
func (o *owners) find(ctx context.Context, p int32) (owner, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.asked) > o.valid {
		members, err := o.list(ctx)
		if err != nil {
			return owner{}, err
		}
		o.asked, o.valid = time.Now(), ownersAge
		o.learn(members)
	}
	found, ok := o.of[p]
	if !ok {
		return owner{}, unavailable("the group says of no instance that it owns partition %d", p)
	}
	return found, nil
}

// doubt says that an owner did not answer as one.
func (o *owners) doubt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.valid = ownersRetry
}

// learn keeps what was known where the group, in a rebalance, says nothing.
func (o *owners) learn(members []broker.GroupMember) {
	known := map[int32]owner{}
	for _, m := range members {
		for _, p := range m.Partitions {
			known[p] = owner{m.Instance, m.Address}
		}
	}
	if len(known) > 0 || len(members) == 0 {
		o.of = known
	}
}

// owner returns a partition's owner, another instance with an address.
func (s *Server) owner(ctx context.Context, p int32) (owner, error) {
	o, err := s.owners.find(ctx, p)
	switch {
	case err != nil:
		return o, err
	case o.instance == s.cfg.Instance:
		return o, unavailable("partition %d is being taken over by instance %s", p, o.instance)
	case o.address == "":
		return o, unavailable("instance %s owns partition %d and does not say where it answers: run it with an advertised address", o.instance, p)
	}
	return o, nil
}

// atOwner asks a partition's owner, and where that fails the one that the group then names, if it is another.
func (s *Server) atOwner(ctx context.Context, p int32, ask func(owner) error) error {
	o, err := s.owner(ctx, p)
	if err == nil {
		if err = ask(o); err == nil || errors.Is(err, ErrNoState) {
			return err
		}
	}
	s.owners.doubt()
	again, findErr := s.owner(ctx, p)
	if findErr != nil || again == o {
		return err
	}
	return ask(again)
}

// listAll asks all owners at once.
func (s *Server) listAll(ctx context.Context, state string, index int, own []int32, others map[owner][]int32, r Range) ([]Value, error) {
	var mu sync.Mutex
	var all []Value
	g, ctx := errgroup.WithContext(ctx)
	add := func(values []Value, err error) error {
		mu.Lock()
		defer mu.Unlock()
		all, _ = first(append(all, values...), r.Limit+1)
		return err
	}
	g.Go(func() error { return add(s.localList(ctx, index, own, r)) })
	for o := range maps.Keys(others) {
		g.Go(func() error { return add(s.remoteList(ctx, o, state, others[o], r)) })
	}
	err := g.Wait()
	if err != nil {
		s.owners.doubt()
	}
	return all, err
}

// hopHeader marks a question that comes from another instance: it is not passed on.
const hopHeader = "Penstock-Forwarded-By"

func (s *Server) remoteGet(ctx context.Context, o owner, state string, key []byte) (Value, error) {
	var a answer
	if err := s.ask(ctx, o, state, url.Values{"keyBase64": {encode(key)}}, &a); err != nil {
		return Value{}, err
	}
	return a.value()
}

func (s *Server) remoteList(ctx context.Context, o owner, state string, partitions []int32, r Range) ([]Value, error) {
	var of []string
	for _, p := range partitions {
		of = append(of, strconv.Itoa(int(p)))
	}
	q := url.Values{"prefixBase64": {encode(r.Prefix)}, "limit": {strconv.Itoa(min(r.Limit+1, MaxLimit+1))}, "partitions": {strings.Join(of, ",")}}
	if r.After != nil {
		q.Set("afterBase64", encode(r.After))
	}
	var list listAnswer
	if err := s.ask(ctx, o, state, q, &list); err != nil {
		return nil, err
	}
	var values []Value
	for _, e := range list.Entries {
		v, err := e.value()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// hopTimeout bounds a question to another instance, so that there is time to ask the one that took over from it.
const hopTimeout = 2 * time.Second

// maxAnswer bounds what is read of another instance's answer, in bytes.
const maxAnswer = 256 << 20

// ask sends one question to an instance.
func (s *Server) ask(ctx context.Context, o owner, state string, q url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, hopTimeout)
	defer cancel()
	q.Set("encoding", "base64")
	base := o.address
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+path+"/"+url.PathEscape(state)+"?"+q.Encode(), nil) // #nosec G704 -- a member of the group, by the address that it gave
	if err != nil {
		return err
	}
	req.Header.Set(hopHeader, s.cfg.Instance)
	if s.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	}
	resp, err := s.cfg.Client.Do(req) // #nosec G704 -- likewise
	if err != nil {
		return fmt.Errorf("ask instance %s: %w", o.instance, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("ask instance %s at %s: %w", o.instance, o.address, err)
	}
	var failed failure
	if jsonErr := json.Unmarshal(raw, &failed); jsonErr != nil || failed.Error != "" || resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNotFound {
		return s.refused(o, resp, failed)
	}
	return json.Unmarshal(raw, into)
}

// refused is an answer that is none.
func (s *Server) refused(o owner, resp *http.Response, f failure) error {
	switch {
	case resp.StatusCode == http.StatusServiceUnavailable && f.Error != "":
		return &UnavailableError{f.Error, time.Duration(f.RetryAfter) * time.Second}
	case resp.StatusCode == http.StatusUnauthorized:
		return unavailable("instance %s at %s does not take this instance's bearer token: give all the same", o.instance, o.address)
	}
	return unavailable("instance %s at %s answers %s: %s", o.instance, o.address, resp.Status, f.Error)
}
