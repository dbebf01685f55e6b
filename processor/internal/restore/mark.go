package restore

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/penstock/penstock/processor/internal/broker"
)

// Mark stands in the metadata of every committed offset (R6): it ties the offset to the topics it was made with, so that
// a host without local state can tell an offset that was moved by hand from one of ours, a state that was added from
// one whose changelog is lost, and a changelog that was cut, or an offset that went back, from what belongs together.
type Mark struct {
	Format      int      `json:"penstock"`
	Incarnation int      `json:"incarnation"`
	Inputs      []string `json:"inputs"`              // topic ids
	Changelogs  []string `json:"changelogs"`          // topic ids
	Topics      []string `json:"topics,omitempty"`    // by input: names; none in a mark of an early version
	States      []string `json:"states,omitempty"`    // by changelog: names
	Ends        []int64  `json:"ends,omitempty"`      // by changelog: the offset after the last record that came to count with this offset, or before; none in a mark of an early version
	Last        []int64  `json:"last,omitempty"`      // by changelog: the offset of the last of these records, -1 where there is none
	Loose       bool     `json:"loose,omitempty"`     // at least once: records beyond Ends may count too
	Cut         string   `json:"cut,omitempty"`       // what a running process found a changelog to have lost
	Resetting   bool     `json:"resetting,omitempty"` // a reset has begun and not ended (R14)
}

func (m Mark) String() string {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // plain data
	}
	return string(raw)
}

// ReadMark reads what a committed offset's metadata says; ok is false where it is no mark.
func ReadMark(metadata string) (m Mark, ok bool) {
	err := json.Unmarshal([]byte(metadata), &m)
	return m, err == nil && m.Format != 0
}

// HadState reports whether the application that wrote m kept a state of that name. Of a mark without names it is true.
func (m Mark) HadState(name string) bool { return !m.named() || slices.Contains(m.States, name) }

func (m Mark) hadInput(topic string) bool { return !m.named() || slices.Contains(m.Topics, topic) }

// current reports whether m, whose text is metadata, is of the application as it is now, wherever its changelogs end.
func (m Mark) current(metadata string, now Mark) bool {
	now.Ends, now.Last = m.Ends, m.Last
	return metadata == now.String()
}

// end is Mark.Ends of a state by name; ok is false where the mark does not tell.
func (m Mark) end(state string) (end int64, ok bool) {
	at := slices.Index(m.States, state)
	if at < 0 || len(m.Ends) != len(m.States) {
		return 0, false
	}
	return m.Ends[at], true
}

// last is Mark.Last of a state by name, -1 where the mark does not tell.
func (m Mark) last(state string) int64 {
	at := slices.Index(m.States, state)
	if at < 0 || len(m.Last) != len(m.States) {
		return -1
	}
	return m.Last[at]
}

func (m Mark) named() bool {
	return len(m.Topics) == len(m.Inputs) && len(m.States) == len(m.Changelogs)
}

// Mark is that of an incarnation whose changelogs are empty.
func (c Config) Mark(incarnation int) Mark {
	id := c.Identity(incarnation)
	m := Mark{Format: 1, Incarnation: incarnation, Inputs: id.InputIDs, Changelogs: id.ChangelogIDs, States: c.States,
		Ends: make([]int64, len(c.States)), Last: slices.Repeat([]int64{-1}, len(c.States)), Loose: c.Loose}
	for _, t := range c.Inputs {
		m.Topics = append(m.Topics, t.Name)
	}
	return m
}

// MarkBytes is how long the text of a mark can become.
func (c Config) MarkBytes() int {
	m := c.Mark(math.MaxInt32)
	for i := range m.Ends {
		m.Ends[i], m.Last[i] = math.MaxInt64, math.MaxInt64
	}
	return len(m.String())
}

// Resetting reports whether an offset's metadata says that a reset has begun and not ended (R14).
func Resetting(metadata string) bool {
	m, _ := ReadMark(metadata)
	return m.Resetting
}

// checkMark returns the mark of a committed offset, if what it names is still what it was: the topics of that name have
// the same ids. States and inputs that were added or dropped since are the caller's.
func (r *run) checkMark(topic broker.Topic, c broker.Committed) (Mark, error) {
	place := fmt.Sprintf("committed offset %d of group %s, topic %s partition %d", c.Offset, r.App, topic.Name, r.partition)
	m, ok := ReadMark(c.Metadata)
	switch {
	case !ok:
		return m, &MismatchError{fmt.Sprintf("%s carries no mark of penstock (metadata %q): it was moved by hand or belongs to another program. State and offset no longer fit. Run penstock reset, or use another --app", place, c.Metadata)}
	case m.Format != 1:
		return m, &MismatchError{fmt.Sprintf("%s has mark format %d, this program knows 1: use the program that wrote it, or a newer one", place, m.Format)}
	case m.Cut != "":
		return m, &MismatchError{m.Cut}
	case m.Resetting:
		return m, &MismatchError{fmt.Sprintf("a reset of application %s has begun and not ended: run penstock reset again, with the same arguments", r.App)}
	}
	want := r.Mark(m.Incarnation)
	if !m.named() {
		if len(m.Inputs) != len(want.Inputs) || len(m.Changelogs) != len(want.Changelogs) {
			return m, &MismatchError{fmt.Sprintf("%s was made by a program with %d inputs and %d states, this one has %d and %d, and which it cannot tell: run it once as it was, with this version. Or use another --app, or run penstock reset",
				place, len(m.Inputs), len(m.Changelogs), len(want.Inputs), len(want.Changelogs))}
		}
		m.Topics, m.States = want.Topics, want.States
	}
	if !slices.Contains(m.Topics, topic.Name) {
		return m, &MismatchError{fmt.Sprintf("%s carries the mark of other topics (%q): it was copied by hand. Run penstock reset, or use another --app", place, m.Topics)}
	}
	for i, name := range want.Topics {
		if at := slices.Index(m.Topics, name); at >= 0 && m.Inputs[at] != want.Inputs[i] {
			return m, &MismatchError{fmt.Sprintf("%s belongs to input topic id %s, but %s has id %s: another topic, or it was deleted and created again. Use another --app, or run penstock reset",
				place, m.Inputs[at], name, want.Inputs[i])}
		}
	}
	for i, name := range want.States {
		if at := slices.Index(m.States, name); at >= 0 && m.Changelogs[at] != want.Changelogs[i] {
			return m, &MismatchError{fmt.Sprintf("%s belongs to changelog topic id %s, but %s has id %s: it was deleted and created again, so its state is gone. Run penstock reset to process from the start",
				place, m.Changelogs[at], r.Changelogs[i].Name, want.Changelogs[i])}
		}
	}
	return m, nil
}
