package csvline

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/penstock/penstock/codec"
)

// Append appends fields as one record without a line end, such that Split returns the same fields, at least one. It
// quotes only where it must. A field with `\n` or invalid UTF-8 is an error, and dst is returned as it was.
func Append(dst []byte, fields ...string) ([]byte, error) {
	out := dst
	for i, field := range fields {
		if i > 0 {
			out = append(out, ',')
		}
		var err error
		if out, err = AppendField(out, field); err != nil {
			return dst, err
		}
	}
	return out, nil
}

// AppendField appends one field as Append does.
func AppendField(dst []byte, field string) ([]byte, error) {
	switch {
	case !utf8.ValidString(field):
		return dst, &codec.Error{Reason: codec.ReasonUTF8, Err: fmt.Errorf("field %.40q is not valid UTF-8", field)}
	case strings.IndexByte(field, '\n') >= 0:
		return dst, fault([]byte(field), ErrLineEnd)
	case !needsQuotes(field):
		return append(dst, field...), nil
	}
	dst = append(dst, '"')
	for quote := 0; quote >= 0; {
		if quote = strings.IndexByte(field, '"'); quote >= 0 {
			dst = append(dst, field[:quote+1]...)
			dst = append(dst, '"')
			field = field[quote+1:]
		}
	}
	dst = append(dst, field...)
	return append(dst, '"'), nil
}

// needsQuotes says whether field could be read otherwise when it stands bare: as several fields, a quote, a line end, a
// byte order mark or schema framing. Blanks at the ends are quoted for other readers' sake.
func needsQuotes(field string) bool {
	if field == "" {
		return false
	}
	for i := range len(field) {
		switch field[i] {
		case ',', '"', '\r':
			return true
		}
	}
	first, last := field[0], field[len(field)-1]
	return first <= ' ' || last <= ' ' || strings.HasPrefix(field, "\xef\xbb\xbf")
}

func fault(line []byte, err error) error {
	return &codec.Error{Reason: codec.ReasonCSV, Err: fmt.Errorf("%w: %.80q", err, line)}
}
