// Package jsonscan reads the members of one JSON object without allocating.
//
// It is as strict as github.com/go-json-experiment/json: the whole of the source is validated, values that nobody asks
// for too, names that differ only in case are different, and a duplicate name, invalid UTF-8, half a surrogate pair or
// bytes after the object are errors. Blanks and line ends around the object and a UTF-8 byte order mark before it are
// not data. What is rare (escapes, nested values, more than a few members) is given to that library, which allocates.
package jsonscan

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/codec"
)

// manyMembers is how many names are compared one by one before duplicates are looked for by other means.
const manyMembers = 8

// Scanner walks over the members of an object in their order:
//
//	s := jsonscan.New(src)
//	for s.Next() {
//		switch string(s.Name()) { ... s.Kind(), s.Value() ... }
//	}
//	if err := s.Err(); err != nil { ... }
//
// Only when Next has returned false and Err is nil is the object known to be valid.
type Scanner struct {
	src  []byte
	pos  int
	err  error
	done bool

	name, raw, text []byte
	kind            jsontext.Kind

	names [manyMembers][]byte
	count int // members so far
}

// New returns a scanner of src. Slices that it hands out are parts of src, or of memory of their own for a string with
// escapes; they are good as long as src is not changed.
func New(src []byte) Scanner { return Scanner{src: codec.TrimBOM(src)} }

// Name is the current member's name, with escapes resolved.
func (s *Scanner) Name() []byte { return s.name }

// Kind is the kind of the current value: 'n', 't', 'f', '"', '0', '{' or '['.
func (s *Scanner) Kind() jsontext.Kind { return s.kind }

// Raw is the current value as it is written.
func (s *Scanner) Raw() []byte { return s.raw }

// Text is the current value with escapes resolved when it is a string, else nil.
func (s *Scanner) Text() []byte { return s.text }

// Err is the first fault, an *codec.Error, or nil.
func (s *Scanner) Err() error { return s.err }

// Next goes to the next member. It returns false after the last one and at the first fault.
func (s *Scanner) Next() bool {
	if s.done {
		return false
	}
	if s.count == 0 {
		s.blanks()
		if !s.take('{') {
			return s.fail()
		}
		s.blanks()
		if s.take('}') {
			return s.end()
		}
	} else {
		s.blanks()
		if s.take('}') {
			return s.end()
		}
		if !s.take(',') {
			return s.fail()
		}
		s.blanks()
	}
	return s.member() || s.fail()
}

// member reads `name : value`.
func (s *Scanner) member() bool {
	var ok bool
	if s.name, ok = s.str(); !ok || !s.unique() {
		return false
	}
	s.blanks()
	if !s.take(':') {
		return false
	}
	s.blanks()
	return s.value()
}

// unique says whether the current name is the first of its kind, and remembers it.
func (s *Scanner) unique() bool {
	for _, earlier := range s.names[:min(s.count, manyMembers)] {
		if string(earlier) == string(s.name) {
			return false
		}
	}
	switch {
	case s.count < manyMembers:
		s.names[s.count] = s.name
	case s.count == manyMembers: // one look at the whole object for all names that follow
		if !jsontext.Value(s.src).IsValid() {
			return false
		}
	}
	s.count++
	return true
}

// end checks that nothing follows the object.
func (s *Scanner) end() bool {
	s.blanks()
	if s.pos < len(s.src) {
		return s.fail()
	}
	s.done = true
	return false
}

// fail ends the walk and finds the words for the fault, which has been seen, but not named.
func (s *Scanner) fail() bool {
	s.done = true
	s.err = explain(s.src)
	return false
}
