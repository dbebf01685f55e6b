// Package states reads an application's committed state: from its running instances, or from the changelog.
package states

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"unicode/utf8"
)

// Source has an application's state.
type Source interface {
	// Get returns a key's entry; nil if it has none.
	Get(ctx context.Context, key []byte) (*Entry, error)
	// List calls fn with the entries of a range in the order of their keys, and reports whether there are more.
	List(ctx context.Context, r Range, fn func(*Entry)) (more bool, err error)
}

// Range is a part of a state.
type Range struct {
	Prefix []byte
	Limit  int // at most so many; 0: all
}

// Entry is one key's value.
type Entry struct {
	Partition  int32
	Key, Value []byte
}

// entry is an Entry as JSON: text where the key is UTF-8 and the value is JSON, else base64. It is the shape of the HTTP
// answers too.
type entry struct {
	Partition   int32           `json:"partition"`
	Key         *string         `json:"key,omitempty"`
	KeyBase64   []byte          `json:"keyBase64,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"valueBase64,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (e *Entry) MarshalJSON() ([]byte, error) {
	out := entry{Partition: e.Partition}
	if key := string(e.Key); utf8.ValidString(key) {
		out.Key = &key
	} else {
		out.KeyBase64 = e.Key
	}
	if json.Valid(e.Value) {
		out.Value = e.Value
	} else {
		out.ValueBase64 = e.Value
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler.
func (e *Entry) UnmarshalJSON(raw []byte) error {
	var in entry
	if err := json.Unmarshal(raw, &in); err != nil {
		return err
	}
	*e = Entry{in.Partition, in.KeyBase64, in.ValueBase64}
	if in.Key != nil {
		e.Key = []byte(*in.Key)
	}
	if in.Value != nil {
		e.Value = in.Value
	}
	return nil
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
