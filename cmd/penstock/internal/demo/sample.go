package demo

import (
	"fmt"
	"math/rand/v2"
)

// The sample's sessions: so many ids, of which so many are open at a time.
const (
	ids    = 300
	active = 12
)

// sample makes records that look like a small casino: a dozen sessions win, one record in a dozen is a deposit, upon which
// the next id takes the place, and a few records are no transactions. Equal seeds make equal records.
type sample struct {
	rng  *rand.Rand
	n    int
	open [active]int
	last int // id
}

func newSample(seed uint64) *sample {
	s := &sample{rng: rand.New(rand.NewPCG(seed, 0)), last: active}
	for i := range s.open {
		s.open[i] = i + 1
	}
	return s
}

// bad are records at fault, and where they come.
var bad = map[int]struct{ key, value string }{
	40:  {"session-7", `{"sessionId":"session-7","winAmount":"12.50","deposit":false}`}, // a number in a string
	90:  {"session-8", `{"sessionId":"session-9","winAmount":3.20}`},                    // another session's key
	140: {"session-9", `session-9;4.10`},
}

// next is the next record.
func (s *sample) next() (key, value []byte) {
	s.n++
	if b, ok := bad[s.n]; ok {
		return []byte(b.key), []byte(b.value)
	}
	place := s.rng.IntN(active)
	id := fmt.Appendf(nil, "session-%d", s.open[place])
	cents := 1 + s.rng.IntN(9999)
	deposit := s.rng.IntN(12) == 0
	if deposit {
		s.last = s.last%ids + 1
		s.open[place] = s.last
	}
	return id, fmt.Appendf(nil, `{"sessionId":%q,"winAmount":%d.%02d,"deposit":%t}`, id, cents/100, cents%100, deposit)
}
