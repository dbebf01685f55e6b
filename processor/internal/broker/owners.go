package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// GroupMember is one member of a consumer group and what it owns of a topic.
type GroupMember struct {
	Instance   string
	Address    string // where it answers, empty if it does not say
	Partitions []int32
}

// Owners asks who is in a group, and what each owns of a topic.
func (c *Cluster) Owners(ctx context.Context, group, topic string) ([]GroupMember, error) {
	described, err := c.adm.DescribeGroups(ctx, group)
	if err == nil {
		err = described.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("describe group %s: %w", group, err)
	}
	var members []GroupMember
	for _, m := range described[group].Members {
		gm := GroupMember{Instance: m.MemberID}
		if m.InstanceID != nil {
			gm.Instance = *m.InstanceID
		}
		if joined, ok := m.Join.AsConsumer(); ok {
			gm.Address = announced(joined.UserData).Address
		}
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				if t.Topic == topic {
					gm.Partitions = append(gm.Partitions, t.Partitions...)
				}
			}
		}
		members = append(members, gm)
	}
	return members, nil
}

// ErrNotMember says that the coordinator does not take this process for a member, or that it takes another one for it.
var ErrNotMember = errors.New("not a member of the group")

// joinPause is how long Confirm waits for a join's answer that the coordinator has given and the client not yet read.
const joinPause = 5 * time.Millisecond

// Confirm sends a heartbeat and returns the member id that the coordinator took it from: at a time between the call and the
// return, this process was that member, with the partitions of its generation. It retries until ctx is done.
func (m *Member) Confirm(ctx context.Context) (memberID string, err error) {
	for {
		now := m.Membership()
		if now.MemberID == "" || now.Generation < 0 {
			return "", ErrNotMember
		}
		switch err := m.heartbeat(ctx, now); {
		case err == nil, errors.Is(err, kerr.RebalanceInProgress): // nothing is given away before the next generation
			return now.MemberID, nil
		case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.FencedInstanceID):
			return "", fmt.Errorf("%w: %w", ErrNotMember, err)
		case !errors.Is(err, kerr.IllegalGeneration):
			return "", err
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("%w: generation %d is over", ErrNotMember, now.Generation)
		case <-time.After(joinPause):
		}
	}
}

func (m *Member) heartbeat(ctx context.Context, as Membership) error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = as.Group, as.MemberID, as.Generation, &as.InstanceID
	resp, err := req.RequestWith(ctx, m.cl)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}
