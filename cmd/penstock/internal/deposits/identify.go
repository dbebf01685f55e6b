package deposits

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// identify asks the brokers which topic has this name.
func identify(ctx context.Context, cl *kgo.Client, topic, group string) (Source, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return Source{}, Unavailable(fmt.Errorf("describe topic %s: %w", topic, err))
	}
	if len(resp.Topics) != 1 {
		return Source{}, Unavailable(fmt.Errorf("describe topic %s: %d answers", topic, len(resp.Topics)))
	}
	err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return Source{}, fmt.Errorf("topic %s %w", topic, kafka.ErrNoTopic)
	case kerr.IsRetriable(err):
		return Source{}, Unavailable(fmt.Errorf("describe topic %s: %w", topic, err))
	case err != nil:
		return Source{}, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	s := Source{Topic: topic, Group: group}
	if resp.ClusterID != nil {
		s.ClusterID = *resp.ClusterID
	}
	if id := resp.Topics[0].TopicID; id != [16]byte{} {
		s.TopicID = hex.EncodeToString(id[:])
	}
	return s, nil
}
