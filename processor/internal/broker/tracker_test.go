package broker

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
)

// A log whose end was known above a record is a cut one, which is told even after the session's end.
func TestABatchBelowAKnownEndIsTold(t *testing.T) {
	b := newBrokers(t)
	s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
	sound := s.Track(outTopicName, 1, 0, -1)
	require.NoError(t, transaction(b.ctx, s, []Out{{To: sound, Key: []byte("a")}, {To: sound, Key: []byte("b")}, {To: s.To(outTopicName, 2)}}))
	require.Equal(t, []int64{2, 1}, []int64{sound.End(), sound.Last()})
	cut := s.Track(outTopicName, 0, 10, 9)
	err := transaction(b.ctx, s, []Out{{To: cut, Key: []byte("k")}, {To: sound, Key: []byte("c")}})
	require.ErrorContains(t, err, "the topic lost records")
	s.Close()
	require.Equal(t, &CutError{outTopicName, 0, 0, 10}, s.Lost())
}

// R6: it is told too where another partition of the same round is refused, as it is by a broker that lost what it knew of the producer.
func TestABatchBelowAKnownEndIsToldBesideARefusal(t *testing.T) {
	for i := range 10 {
		b := newBrokers(t, kfake.NumBrokers(1+i%2))
		b.answering(func(_ string, partition int32) (int16, int64, bool) {
			if partition == 0 {
				return 0, 5, true
			}
			return kerr.OutOfOrderSequenceNumber.Code, -1, true
		})
		s := b.session(b.connect(Config{}), SessionConfig{TransactionalID: "id"})
		var records []Out
		for p := range int32(4) {
			records = append(records, Out{To: s.Track(outTopicName, p, 10, 9), Key: []byte("k")})
		}
		slices.Reverse(records)
		require.Error(t, transaction(b.ctx, s, records))
		s.Close()
		require.Equal(t, &CutError{outTopicName, 0, 5, 10}, s.Lost())
	}
}
