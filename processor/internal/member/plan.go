package member

import (
	"cmp"
	"slices"

	"github.com/penstock/penstock/processor/internal/broker"
)

func have(c broker.Candidate, p int32) int64 {
	if int(p) >= len(c.Have) {
		return 0
	}
	return c.Have[p]
}

// Plan gives each partition to a candidate and returns, by partition, which. No candidate has more than one partition more
// than another. As far as that allows, an owner keeps what it owns, since nobody is nearer to the changelog's end; what is
// free or must move goes to whose local copy is nearest to it. The same candidates in the same order yield the same plan.
func Plan(candidates []broker.Candidate, partitions int32) []int {
	p := plan{candidates: candidates, of: make([]int, partitions), count: make([]int, len(candidates)),
		low: int(partitions) / len(candidates), spare: int(partitions) % len(candidates)}
	for i := range p.of {
		p.of[i] = -1
	}
	p.keep()
	p.nearest()
	p.rest()
	return p.of
}

type plan struct {
	candidates []broker.Candidate
	of         []int // by partition: its candidate, -1 if it is free
	count      []int // by candidate: its partitions
	low, spare int   // all have low partitions, and so many candidates may still have one more
}

// give gives a partition to a candidate that has room for it.
func (p *plan) give(partition int32, to int) bool {
	switch {
	case p.count[to] < p.low:
	case p.count[to] == p.low && p.spare > 0:
		p.spare--
	default:
		return false
	}
	p.of[partition] = to
	p.count[to]++
	return true
}

// keep leaves the owners what they may keep: those who own most first, and of each the partitions of which no other has
// a good copy.
func (p *plan) keep() {
	order := make([]int, len(p.candidates))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(p.candidates[b].Owned) - len(p.candidates[a].Owned) })
	for _, c := range order {
		owned := slices.DeleteFunc(slices.Clone(p.candidates[c].Owned), func(n int32) bool { return int(n) >= len(p.of) || p.of[n] >= 0 })
		slices.SortFunc(owned, func(a, b int32) int {
			return cmp.Or(cmp.Compare(p.elsewhere(a, c), p.elsewhere(b, c)), cmp.Compare(a, b))
		})
		for _, n := range owned {
			if !p.give(n, c) {
				break
			}
		}
	}
}

// elsewhere is how far the best copy of another candidate goes.
func (p *plan) elsewhere(partition int32, than int) (best int64) {
	for c := range p.candidates {
		if c != than {
			best = max(best, have(p.candidates[c], partition))
		}
	}
	return best
}

// nearest gives free partitions to those who have a copy, the furthest first.
func (p *plan) nearest() {
	type copied struct {
		partition int32
		candidate int
		have      int64
	}
	var copies []copied
	for c := range p.candidates {
		for n := range p.of {
			if have := have(p.candidates[c], int32(n)); have > 0 && p.of[n] < 0 {
				copies = append(copies, copied{int32(n), c, have})
			}
		}
	}
	slices.SortStableFunc(copies, func(a, b copied) int { return cmp.Compare(b.have, a.have) })
	for _, c := range copies {
		if p.of[c.partition] < 0 {
			p.give(c.partition, c.candidate)
		}
	}
}

// rest gives what nobody has to those who have least.
func (p *plan) rest() {
	for n := range p.of {
		if p.of[n] < 0 {
			p.give(int32(n), slices.Index(p.count, slices.Min(p.count)))
		}
	}
}
