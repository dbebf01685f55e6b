package demo

import (
	"fmt"
	"math/rand/v2"
)

// sessions is how many ids the sample data have.
const sessions = 300

// sample makes records that look like a busy day: wins of a few hundred sessions, one in forty a deposit, and a few
// records that are no transactions. Equal seeds make equal records.
type sample struct {
	rng *rand.Rand
	n   int
}

func newSample(seed uint64) *sample { return &sample{rng: rand.New(rand.NewPCG(seed, 0))} }

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
	id := fmt.Appendf(nil, "session-%d", 1+s.rng.IntN(sessions))
	cents := 1 + s.rng.IntN(9999)
	deposit := s.rng.IntN(40) == 0
	return id, fmt.Appendf(nil, `{"sessionId":%q,"winAmount":%d.%02d,"deposit":%t}`, id, cents/100, cents%100, deposit)
}
