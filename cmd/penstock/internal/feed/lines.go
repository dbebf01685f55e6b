// Package feed sends lines of text as transactions to the input topic, keyed by session id.
package feed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line in bytes.
const maxLine = 1 << 20

// errTooLong says that a line was passed over.
var errTooLong = fmt.Errorf("line is longer than %d bytes", maxLine)

// lines splits a stream. A line's slice is valid until the next call.
type lines struct{ r *bufio.Reader }

func newLines(r io.Reader) *lines { return &lines{bufio.NewReaderSize(r, maxLine)} }

// next returns a line without its end, errTooLong for one that is passed over, or the stream's error.
func (l *lines) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.r.ReadSlice('\n')
		}
		if err == nil || errors.Is(err, io.EOF) {
			return nil, errTooLong
		}
		return nil, err
	}
	if len(line) > 0 && errors.Is(err, io.EOF) {
		err = nil // the last line has no end
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), err
}
