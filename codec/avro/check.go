package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/hamba/avro/v2"
)

// maxDepth bounds how deep values of a recursive schema may be nested.
const maxDepth = 200

// maxEmpty bounds the items of one list that have no bytes, such as nulls.
const maxEmpty = 1 << 16

var errShort = errors.New("the value ends too early")

// check walks one value of a schema, before it is decoded, and returns what follows it. A length in a value costs its
// writer some bytes and the decoder as much memory as it says: here it is compared with the bytes that are there.
func check(s avro.Schema, src []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("values are nested deeper than %d", maxDepth)
	}
	switch s := s.(type) {
	case *avro.RefSchema:
		return check(s.Schema(), src, depth)
	case *avro.RecordSchema:
		return checkRecord(s, src, depth)
	case *avro.UnionSchema:
		at, src, err := long(src)
		if err != nil {
			return nil, err
		}
		if at < 0 || at >= int64(len(s.Types())) {
			return nil, fmt.Errorf("branch %d of a union of %d", at, len(s.Types()))
		}
		return check(s.Types()[at], src, depth+1)
	case *avro.ArraySchema:
		return blocks(src, func(src []byte) ([]byte, error) { return check(s.Items(), src, depth+1) })
	case *avro.MapSchema:
		return blocks(src, func(src []byte) ([]byte, error) {
			src, err := text(src)
			if err != nil {
				return nil, err
			}
			return check(s.Values(), src, depth+1)
		})
	case *avro.FixedSchema:
		return skip(src, int64(s.Size()))
	case *avro.EnumSchema:
		at, src, err := long(src)
		if err == nil && (at < 0 || at >= int64(len(s.Symbols()))) {
			err = fmt.Errorf("symbol %d of an enum of %d", at, len(s.Symbols()))
		}
		return src, err
	}
	return checkPlain(s.Type(), src)
}

func checkRecord(s *avro.RecordSchema, src []byte, depth int) ([]byte, error) {
	for _, f := range s.Fields() {
		var err error
		if src, err = check(f.Type(), src, depth+1); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name(), err)
		}
	}
	return src, nil
}

func checkPlain(t avro.Type, src []byte) ([]byte, error) {
	switch t {
	case avro.Null:
		return src, nil
	case avro.Boolean:
		if len(src) > 0 && src[0] > 1 {
			return nil, fmt.Errorf("boolean %d", src[0])
		}
		return skip(src, 1)
	case avro.Int:
		n, src, err := long(src)
		if err == nil && n != int64(int32(n)) {
			err = fmt.Errorf("int %d", n)
		}
		return src, err
	case avro.Long:
		_, src, err := long(src)
		return src, err
	case avro.Float:
		return skip(src, 4)
	case avro.Double:
		return skip(src, 8)
	case avro.Bytes:
		n, src, err := long(src)
		if err != nil {
			return nil, err
		}
		return skip(src, n)
	case avro.String:
		return text(src)
	}
	return nil, fmt.Errorf("type %s is not known", t)
}

// blocks walks the blocks of an array or a map.
func blocks(src []byte, item func([]byte) ([]byte, error)) ([]byte, error) {
	empty := 0
	for {
		n, rest, err := long(src)
		if err != nil {
			return nil, err
		}
		if src = rest; n == 0 {
			return src, nil
		}
		if n < 0 { // the block's size in bytes follows
			if _, src, err = long(src); err != nil {
				return nil, err
			}
			n = -n
		}
		if n < 0 {
			return nil, errShort
		}
		for range n {
			before := len(src)
			if src, err = item(src); err != nil {
				return nil, err
			}
			if len(src) == before {
				if empty++; empty > maxEmpty {
					return nil, fmt.Errorf("more than %d items without bytes", maxEmpty)
				}
			}
		}
	}
}

func text(src []byte) ([]byte, error) {
	n, src, err := long(src)
	if err != nil {
		return nil, err
	}
	rest, err := skip(src, n)
	if err == nil && !utf8.Valid(src[:n]) {
		err = errors.New("text is not valid UTF-8")
	}
	return rest, err
}

func skip(src []byte, n int64) ([]byte, error) {
	if n < 0 || n > int64(len(src)) {
		return nil, errShort
	}
	return src[n:], nil
}

// long reads a zigzag varint.
func long(src []byte) (int64, []byte, error) {
	v, n := binary.Varint(src)
	if n <= 0 {
		return 0, nil, errShort
	}
	return v, src[n:], nil
}
