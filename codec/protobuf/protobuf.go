// Package protobuf is a codec for Protocol Buffers, by google.golang.org/protobuf.
package protobuf

import (
	"google.golang.org/protobuf/proto"

	"github.com/penstock/penstock/codec"
)

// Reason is that of bytes that are no message of the type.
const Reason = "protobuf"

// New returns a codec for the generated message M, whose values are *M:
//
//	orders := protobuf.New[orderspb.Order]()
//
// Maps are written in the order of their keys, so that one program writes equal messages as equal bytes. Fields that the
// type does not have are kept. Nil is written as an empty message.
func New[M any, P interface {
	*M
	proto.Message
}]() codec.Codec[P] {
	return messageCodec[M, P]{}
}

type messageCodec[M any, P interface {
	*M
	proto.Message
}] struct{}

var marshal = proto.MarshalOptions{Deterministic: true}

func (messageCodec[M, P]) Append(dst []byte, v P) ([]byte, error) {
	out, err := marshal.MarshalAppend(dst, v)
	if err != nil {
		return dst, &codec.Error{Reason: Reason, Err: err}
	}
	return out, nil
}

func (messageCodec[M, P]) Decode(src []byte) (P, error) {
	m := P(new(M))
	if err := proto.Unmarshal(src, m); err != nil {
		return nil, &codec.Error{Reason: Reason, Err: err}
	}
	return m, nil
}
