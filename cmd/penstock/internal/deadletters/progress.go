package deadletters

import (
	"encoding/json"
	"fmt"
)

// progress is what a replay has done in one partition: everything below next but the ranges left.
type progress struct {
	next int64
	left []span // in order, apart
}

// span is [from, to).
type span struct{ from, to int64 }

// metadataBytes bounds what goes into an offset's metadata, of which brokers take 4096 bytes.
const metadataBytes = 3900

// open reports whether an offset was not replayed yet.
func (p *progress) open(offset int64) bool {
	if offset >= p.next {
		return true
	}
	for _, s := range p.left {
		if offset >= s.from && offset < s.to {
			return true
		}
	}
	return false
}

// done notes that an offset is replayed.
func (p *progress) done(offset int64) {
	if offset >= p.next {
		if offset > p.next {
			p.leave(p.next, offset)
		}
		p.next = offset + 1
		return
	}
	for i, s := range p.left {
		if offset < s.from || offset >= s.to {
			continue
		}
		rest := append([]span(nil), p.left[i+1:]...)
		p.left = p.left[:i]
		if s.from < offset {
			p.left = append(p.left, span{s.from, offset})
		}
		if offset+1 < s.to {
			p.left = append(p.left, span{offset + 1, s.to})
		}
		p.left = append(p.left, rest...)
		return
	}
}

func (p *progress) leave(from, to int64) {
	if n := len(p.left); n > 0 && p.left[n-1].to == from {
		p.left[n-1].to = to
		return
	}
	p.left = append(p.left, span{from, to})
}

type metadata struct {
	Format int        `json:"penstock"`
	Left   [][2]int64 `json:"left"` // ranges below the offset that were not replayed, the end not included
}

// encode is the metadata; an error where there are too many ranges for it.
func (p *progress) encode() (string, error) {
	m := metadata{Format: 1, Left: [][2]int64{}}
	for _, s := range p.left {
		m.Left = append(m.Left, [2]int64{s.from, s.to})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	if len(raw) > metadataBytes {
		return "", fmt.Errorf("the letters that were passed over lie too scattered to be remembered (%d ranges): replay with fewer filters", len(p.left))
	}
	return string(raw), nil
}

func decode(offset int64, text string) (*progress, error) {
	var m metadata
	if err := json.Unmarshal([]byte(text), &m); err != nil || m.Format != 1 {
		return nil, fmt.Errorf("offset %d of the replay carries metadata %q that is not penstock's: delete the offsets of its group to replay everything again", offset, text)
	}
	p := &progress{next: offset}
	for _, s := range m.Left {
		p.left = append(p.left, span{s[0], s[1]})
	}
	return p, nil
}
