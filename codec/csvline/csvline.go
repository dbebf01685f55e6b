// Package csvline reads and writes one record of CSV on one line, quoted by RFC 4180. A quote cannot reach past the
// line, so that a lost quote spoils one record and not those that follow.
package csvline

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/penstock/penstock/codec"
)

// Faults of a line, found in the chain of the *codec.Error that Split and Append return.
var (
	ErrUnterminatedQuote = errors.New("a quote is opened and not closed on the line")
	ErrBareQuote         = errors.New("a quote stands inside a field that does not start with one")
	ErrTextAfterQuote    = errors.New("text follows a closing quote")
	ErrLineEnd           = errors.New("a record is one line, but a line end is inside")
	ErrUTF8              = errors.New("line is not valid UTF-8")
)

// Split appends the fields of line to dst. A UTF-8 byte order mark at the start and one line end (`\r\n`, `\n` or `\r`)
// are not data; everything else is, blanks too. A field is a part of line, except that one with a doubled quote has
// memory of its own. An empty line is one empty field. A field may be quoted to hold commas, quotes (doubled) and
// blanks, or to start with what would be taken for a mark; a line end it cannot hold.
func Split(dst [][]byte, line []byte) ([][]byte, error) {
	line = trimLineEnd(codec.TrimBOM(line))
	if !utf8.Valid(line) {
		return dst, &codec.Error{Reason: codec.ReasonUTF8, Err: ErrUTF8}
	}
	if bytes.IndexByte(line, '\n') >= 0 {
		return dst, fault(line, ErrLineEnd)
	}
	fields := dst
	for {
		field, rest, more, err := next(line)
		if err != nil {
			return dst, fault(line, err)
		}
		fields = append(fields, field)
		if !more {
			return fields, nil
		}
		line = rest
	}
}

// next returns the first field of line, and what is behind the comma that ends it when there is more.
func next(line []byte) (field, rest []byte, more bool, err error) {
	if len(line) > 0 && line[0] == '"' {
		return quoted(line[1:])
	}
	for i, c := range line {
		switch c {
		case ',':
			return line[:i], line[i+1:], true, nil
		case '"':
			return nil, nil, false, ErrBareQuote
		}
	}
	return line, nil, false, nil
}

// quoted is next behind an opening quote.
func quoted(line []byte) (field, rest []byte, more bool, err error) {
	var unescaped []byte // what was read up to the last doubled quote
	for {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			return nil, nil, false, ErrUnterminatedQuote
		}
		field, rest = line[:i], line[i+1:]
		if len(rest) > 0 && rest[0] == '"' {
			unescaped = append(append(unescaped, field...), '"')
			line = rest[1:]
			continue
		}
		if unescaped != nil {
			field = append(unescaped, field...)
		}
		switch {
		case len(rest) == 0:
			return field, nil, false, nil
		case rest[0] == ',':
			return field, rest[1:], true, nil
		}
		return nil, nil, false, ErrTextAfterQuote
	}
}

func trimLineEnd(line []byte) []byte {
	if bytes.HasSuffix(line, []byte("\r\n")) {
		return line[:len(line)-2]
	}
	if n := len(line) - 1; n >= 0 && (line[n] == '\n' || line[n] == '\r') {
		return line[:n]
	}
	return line
}
