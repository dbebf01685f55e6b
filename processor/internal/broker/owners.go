package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// How a member learns where another one answers: each puts its address behind the user data of its subscription, which the
// coordinator keeps and shows to whoever describes the group, together with the assignments. It needs no topic, no leader
// that spreads it, and no right beyond that to read the group. A static member that comes back with another address
// changes it without a rebalance: the coordinator stores the subscription of each join. In a rebalance the coordinator shows
// neither assignments nor subscriptions; the last ones known serve until then.
//
// The balancer reads this user data of members of generation -1 only, and ends at the length it has there; other
// cooperative members take their partitions from the subscription itself (KIP-792).

// addressMark stands between the balancer's user data and the address. No topic's name holds these bytes.
var addressMark = []byte("\x00penstock at ")

// advertiser is a balancer that adds an address to the member's metadata.
type advertiser struct {
	kgo.GroupBalancer
	address string
}

// JoinGroupMetadata implements kgo.GroupBalancer.
func (a *advertiser) JoinGroupMetadata(topics []string, current map[string][]int32, generation int32) []byte {
	raw := a.GroupBalancer.JoinGroupMetadata(topics, current, generation)
	if a.address == "" {
		return raw
	}
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(raw); err != nil {
		return raw // the group works without
	}
	meta.UserData = append(append(meta.UserData, addressMark...), a.address...)
	return meta.AppendTo(nil)
}

func addressIn(userData []byte) string {
	if i := bytes.LastIndex(userData, addressMark); i >= 0 {
		return string(userData[i+len(addressMark):])
	}
	return ""
}

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
			gm.Address = addressIn(joined.UserData)
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
