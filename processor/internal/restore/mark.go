package restore

import (
	"encoding/json"
	"fmt"

	"github.com/penstock/penstock/processor/internal/broker"
)

// Mark stands in the metadata of every committed offset (R6): it ties the offset to the topics it was made with, so that
// a host without local state can tell an offset that was moved by hand from one of ours.
type Mark struct {
	Format      int      `json:"penstock"`
	Incarnation int      `json:"incarnation"`
	Inputs      []string `json:"inputs"`              // topic ids
	Changelogs  []string `json:"changelogs"`          // topic ids
	Resetting   bool     `json:"resetting,omitempty"` // a reset has begun and not ended (R14)
}

func (m Mark) String() string {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err) // plain data
	}
	return string(raw)
}

// Mark is that of an incarnation.
func (c Config) Mark(incarnation int) Mark {
	id := c.Identity(incarnation)
	return Mark{Format: 1, Incarnation: incarnation, Inputs: id.InputIDs, Changelogs: id.ChangelogIDs}
}

// MarkFor is the mark of an incarnation's offsets, as text.
func (c Config) MarkFor(incarnation int) string { return c.Mark(incarnation).String() }

// Resetting reports whether an offset's metadata says that a reset has begun and not ended (R14).
func Resetting(metadata string) bool {
	var m Mark
	return json.Unmarshal([]byte(metadata), &m) == nil && m.Resetting
}

func (r *run) checkMark(topic broker.Topic, c broker.Committed) (Mark, error) {
	var m Mark
	place := fmt.Sprintf("committed offset %d of group %s, topic %s partition %d", c.Offset, r.App, topic.Name, r.partition)
	if err := json.Unmarshal([]byte(c.Metadata), &m); err != nil || m.Format == 0 {
		return m, &MismatchError{fmt.Sprintf("%s carries no mark of penstock (metadata %q): it was moved by hand or belongs to another program. State and offset no longer fit. Run penstock reset, or use another --app", place, c.Metadata)}
	}
	if m.Format != 1 {
		return m, &MismatchError{fmt.Sprintf("%s has mark format %d, this program knows 1: use the program that wrote it, or a newer one", place, m.Format)}
	}
	if m.Resetting {
		return m, &MismatchError{fmt.Sprintf("a reset of application %s has begun and not ended: run penstock reset again, with the same arguments", r.App)}
	}
	want := r.Mark(m.Incarnation)
	if len(m.Inputs) != len(want.Inputs) || len(m.Changelogs) != len(want.Changelogs) {
		return m, &MismatchError{fmt.Sprintf("%s was made by a program with %d inputs and %d states, this one has %d and %d. Use another --app, or run penstock reset",
			place, len(m.Inputs), len(m.Changelogs), len(want.Inputs), len(want.Changelogs))}
	}
	for i := range want.Inputs {
		if m.Inputs[i] != want.Inputs[i] {
			return m, &MismatchError{fmt.Sprintf("%s belongs to input topic id %s, but %s has id %s: another topic, or it was deleted and created again. Use another --app, or run penstock reset",
				place, m.Inputs[i], r.Inputs[i].Name, want.Inputs[i])}
		}
	}
	for i := range want.Changelogs {
		if m.Changelogs[i] != want.Changelogs[i] {
			return m, &MismatchError{fmt.Sprintf("%s belongs to changelog topic id %s, but %s has id %s: it was deleted and created again, so its state is gone. Run penstock reset to process from the start",
				place, m.Changelogs[i], r.Changelogs[i].Name, want.Changelogs[i])}
		}
	}
	return m, nil
}
