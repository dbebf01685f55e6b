package jsonscan

import (
	"fmt"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/codec"
)

func (s *Scanner) blanks() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

func (s *Scanner) take(c byte) bool {
	if s.pos < len(s.src) && s.src[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// value reads one value of any kind into kind, raw and text.
func (s *Scanner) value() bool {
	if s.pos == len(s.src) {
		return false
	}
	start, ok := s.pos, false
	s.text = nil
	switch c := s.src[s.pos]; c {
	case '"':
		s.kind = '"'
		s.text, ok = s.str()
	case 't':
		s.kind, ok = 't', s.literal("true")
	case 'f':
		s.kind, ok = 'f', s.literal("false")
	case 'n':
		s.kind, ok = 'n', s.literal("null")
	case '{', '[':
		s.kind, ok = jsontext.Kind(c), s.nested()
	default:
		s.kind, ok = '0', s.number()
	}
	s.raw = s.src[start:s.pos]
	return ok
}

func (s *Scanner) literal(word string) bool {
	if len(s.src)-s.pos < len(word) || string(s.src[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

// str reads a string, its quotes included, and returns its text.
func (s *Scanner) str() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	start := s.pos
	var seen byte // all bytes or-ed: the high bit says whether any is beyond ASCII
	for i := start; i < len(s.src); i++ {
		c := s.src[i]
		switch {
		case c == '"':
			s.pos = i + 1
			text := s.src[start:i]
			return text, seen < utf8.RuneSelf || utf8.Valid(text)
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return nil, false
		}
		seen |= c
	}
	return nil, false
}

// escaped reads a string with escapes, whose opening quote is before start.
func (s *Scanner) escaped(start int) ([]byte, bool) {
	end, ok := stringEnd(s.src, start)
	if !ok {
		return nil, false
	}
	s.pos = end
	text, err := jsontext.AppendUnquote(nil, s.src[start-1:end])
	return text, err == nil
}

// stringEnd returns the position behind the quote that closes the string which i is in.
func stringEnd(src []byte, i int) (int, bool) {
	for ; i < len(src); i++ {
		switch src[i] {
		case '"':
			return i + 1, true
		case '\\':
			i++
		}
	}
	return 0, false
}

// nested passes over an object or array: brackets are counted to find its end, and the library judges what is inside.
func (s *Scanner) nested() bool {
	start, depth := s.pos, 0
	for i := start; i < len(s.src); i++ {
		switch s.src[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				s.pos = i + 1
				return jsontext.Value(s.src[start:s.pos]).IsValid()
			}
		case '"':
			end, ok := stringEnd(s.src, i+1)
			if !ok {
				return false
			}
			i = end - 1
		}
	}
	return false
}

// number passes over a number of RFC 8259, section 6.
func (s *Scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

// digits passes over one digit or more.
func (s *Scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.src) && '0' <= s.src[s.pos] && s.src[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// explain names what is wrong with src, which the scanner has refused.
func explain(src []byte) error {
	if err := codec.CheckJSON(src); err != nil {
		return err
	}
	return &codec.Error{Reason: codec.ReasonWrongType, Err: fmt.Errorf("expected a JSON object, found %.40q", src)}
}
