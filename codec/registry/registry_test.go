package registry_test

import (
	"encoding/binary"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/codec/avro"
	"github.com/penstock/penstock/codec/codectest"
	"github.com/penstock/penstock/codec/protobuf"
	"github.com/penstock/penstock/codec/registry"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

const (
	orderV1 = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}`
	orderV2 = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"items","type":"long","default":1}]}`
)

type order struct {
	ID    string `avro:"id"`
	Items int64  `avro:"items"`
}

func fake(t *testing.T) (*srfake.Registry, *sr.Client) {
	reg := srfake.New()
	t.Cleanup(reg.Close)
	client, err := sr.NewClient(sr.URLs(reg.URL()))
	require.NoError(t, err)
	return reg, client
}

func orders(t *testing.T, client *sr.Client) codec.Codec[order] {
	c, err := registry.New(t.Context(), registry.Config[order]{
		Client: client, Subject: "orders-value", Schema: sr.Schema{Schema: orderV2, Type: sr.TypeAvro},
		Format: func(writer sr.Schema) (codec.Codec[order], error) { return avro.Resolve[order](orderV2, writer.Schema) },
	})
	require.NoError(t, err)
	return c
}

func TestFramedValuesPassTheSuite(t *testing.T) {
	_, client := fake(t)
	codectest.Run(t, orders(t, client), order{}, order{"é", -5})

	times, err := registry.New(t.Context(), registry.Config[*timestamppb.Timestamp]{
		Client: client, Subject: "times-value", Schema: sr.Schema{Schema: `syntax = "proto3"; message Timestamp { int64 seconds = 1; int32 nanos = 2; }`, Type: sr.TypeProtobuf},
		Format: registry.Same(protobuf.New[timestamppb.Timestamp]()), Index: []int{0},
	})
	require.NoError(t, err)
	codectest.RunEqual(t, times, func(a, b *timestamppb.Timestamp) bool { return proto.Equal(a, b) }, &timestamppb.Timestamp{Seconds: 7})
}

func TestTheFrameIsConfluents(t *testing.T) {
	reg, client := fake(t)
	reg.SeedSchema("orders-value", 1, 258, sr.Schema{Schema: orderV2, Type: sr.TypeAvro})
	raw, err := orders(t, client).Append([]byte("x"), order{"a", 1})
	require.NoError(t, err)
	require.Equal(t, "x\x00\x00\x00\x01\x02\x02a\x02", string(raw))
}

// A value of an older schema is read as the present one; the registry is asked once.
func TestOlderSchemasAreLookedUpOnce(t *testing.T) {
	reg, client := fake(t)
	reg.SeedSchema("orders-value", 1, 5, sr.Schema{Schema: orderV1, Type: sr.TypeAvro})
	c := orders(t, client)
	var asked atomic.Int64
	reg.Intercept(func(http.ResponseWriter, *http.Request) bool { asked.Add(1); return false })
	for range 3 {
		v, err := c.Decode([]byte("\x00\x00\x00\x00\x05\x02a"))
		require.NoError(t, err)
		require.Equal(t, order{"a", 1}, v)
		_, err = c.Decode([]byte("\x00\x00\x00\x00\x63\x02a"))
		require.Equal(t, registry.Reason, codec.Reason(err), "an unknown id")
	}
	require.EqualValues(t, 2, asked.Load())
	_, err := c.Decode([]byte("a"))
	require.Equal(t, registry.Reason, codec.Reason(err), "no frame")
}

// A registry that is down rejects no record.
func TestARegistryThatDoesNotAnswerRejectsNothing(t *testing.T) {
	reg, client := fake(t)
	c := orders(t, client)
	reg.SeedSchema("orders-value", 9, 9, sr.Schema{Schema: orderV1, Type: sr.TypeAvro})
	reg.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	_, err := c.Decode(append(binary.BigEndian.AppendUint32([]byte{0}, 9), "\x02a"...))
	require.ErrorIs(t, err, codec.ErrUnavailable)

	app := processor.New("app")
	processor.Handle(app, "orders", c, func(*processor.Context, order) error { return nil })
	require.PanicsWithValue(t, `engine fault at topic orders offset 0: decode topic orders partition 0 offset 0: `+err.Error(), func() {
		processortest.New(nil, app).Send("orders", "k", "\x00\x00\x00\x00\x09\x02a")
	})
	reg.ClearInterceptors()
	v, err := c.Decode(append(binary.BigEndian.AppendUint32([]byte{0}, 9), "\x02a"...))
	require.NoError(t, err)
	require.Equal(t, order{"a", 1}, v)
}

func TestACodecThatOnlyReads(t *testing.T) {
	_, client := fake(t)
	c, err := registry.New(t.Context(), registry.Config[string]{Client: client, Subject: "s", Format: registry.Same(codec.JSON[string]())})
	require.NoError(t, err)
	_, err = c.Append(nil, "a")
	require.Equal(t, registry.Reason, codec.Reason(err))
}
