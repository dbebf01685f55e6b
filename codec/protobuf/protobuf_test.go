package protobuf_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/codectest"
	"github.com/penstock/penstock/codec/protobuf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func equal[P proto.Message](a, b P) bool { return proto.Equal(a, b) }

func structs(t require.TestingT) []*structpb.Struct {
	s, err := structpb.NewStruct(map[string]any{"b": 1.5, "a": "é", "list": []any{true, nil, map[string]any{"z": 1, "y": 2}}})
	require.NoError(t, err)
	return []*structpb.Struct{{}, s}
}

func TestMessagesPassTheSuite(t *testing.T) {
	codectest.RunEqual(t, protobuf.New[structpb.Struct](), equal, structs(t)...)
	codectest.RunEqual(t, protobuf.New[timestamppb.Timestamp](), equal, &timestamppb.Timestamp{}, &timestamppb.Timestamp{Seconds: -1, Nanos: 999})
}

func FuzzMessages(f *testing.F) {
	codectest.FuzzEqual(f, protobuf.New[structpb.Struct](), equal, structs(f)...)
}

func TestWhatIsNoMessageIsNamed(t *testing.T) {
	v, err := protobuf.New[timestamppb.Timestamp]().Decode([]byte{0xff})
	require.Equal(t, protobuf.Reason, codec.Reason(err))
	require.Nil(t, v)
	out, err := protobuf.New[structpb.Value]().Append([]byte("keep"), structpb.NewStringValue("\xff"))
	require.Equal(t, protobuf.Reason, codec.Reason(err))
	require.Equal(t, "keep", string(out))
}

func ExampleNew() {
	times := protobuf.New[timestamppb.Timestamp]()
	raw, _ := times.Append(nil, &timestamppb.Timestamp{Seconds: 5})
	t, err := times.Decode(raw)
	fmt.Println(raw, t.GetSeconds(), err)
	// Output: [8 5] 5 <nil>
}
