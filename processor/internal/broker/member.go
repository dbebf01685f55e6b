package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// MemberConfig is what a membership is made from. The callbacks run one at a time, on the client's goroutine; a
// partition is given away when Revoked returns.
type MemberConfig struct {
	Group          string
	InstanceID     string
	Topic          string // the first input; its partitions stand for the tasks
	SessionTimeout time.Duration
	Advertise      string                                               // where this member answers queries; the others are told
	Have           func() []int64                                       // how far its local copies go, see Candidate; asked for at each join
	Plan           func(candidates []Candidate, partitions int32) []int // of the group's leader: by partition, the candidate that is to run it
	Assigned       func(partitions []int32)                             // what is new; empty where nothing is
	Revoked        func(partitions []int32)                             // still owned until it returns
	Lost           func(partitions []int32)                             // not owned any more
}

// Member is a static member of a consumer group. Its client only holds the membership: it fetches nothing.
type Member struct {
	cfg     MemberConfig
	cl      *kgo.Client
	setting func(ctx context.Context, key string) string // of a broker
	cut     context.CancelFunc                           // what the client waits for
}

// Join makes the client; it joins in the background.
func (c *Cluster) Join(cfg MemberConfig) (*Member, error) {
	ctx, cut := context.WithCancel(context.Background())
	m := &Member{cfg: cfg, setting: c.brokerConfig, cut: cut}
	pick := func(fn func([]int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			if ps := parts[cfg.Topic]; len(ps) > 0 {
				fn(ps)
			}
		}
	}
	cl, err := kgo.NewClient(c.cfg.opts(
		kgo.WithContext(ctx),
		kgo.ConsumerGroup(cfg.Group),
		kgo.InstanceID(cfg.InstanceID),
		kgo.ConsumeTopics(cfg.Topic),
		kgo.Balancers(&balancer{kgo.CooperativeStickyBalancer(), cfg}),
		kgo.SessionTimeout(cfg.SessionTimeout),
		kgo.RebalanceTimeout(max(60*time.Second, 2*cfg.SessionTimeout)),
		kgo.HeartbeatInterval(max(cfg.SessionTimeout/10, 100*time.Millisecond)),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { cfg.Assigned(parts[cfg.Topic]) }),
		kgo.OnPartitionsRevoked(pick(cfg.Revoked)),
		kgo.OnPartitionsLost(pick(cfg.Lost)),
	)...)
	if err != nil {
		cut()
		return nil, err
	}
	cl.PauseFetchTopics(cfg.Topic)
	m.cl = cl
	return m, nil
}

// Membership is the current one.
func (m *Member) Membership() Membership {
	id, generation := m.cl.GroupMetadata()
	return Membership{Group: m.cfg.Group, MemberID: id, Generation: generation, InstanceID: m.cfg.InstanceID}
}

// ErrInstanceFenced says that another process holds the same instance id (R13).
var ErrInstanceFenced = errors.New("another process joined the group with the same instance id")

// Watch returns when the membership cannot go on, or ctx is done.
func (m *Member) Watch(ctx context.Context) error {
	for {
		fetches := m.cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			switch {
			case errors.Is(e.Err, kerr.FencedInstanceID):
				return fmt.Errorf("%w: group %s, instance %s", ErrInstanceFenced, m.cfg.Group, m.cfg.InstanceID)
			case IsAuthorization(e.Err):
				return fmt.Errorf("join group %s: %w", m.cfg.Group, lacking(e.Err, Read, "group", m.cfg.Group))
			case errors.Is(e.Err, kerr.InvalidSessionTimeout):
				return fmt.Errorf("join group %s: session timeout %v is outside of what the brokers allow, group.min.session.timeout.ms %s to group.max.session.timeout.ms %s (%w)",
					m.cfg.Group, m.cfg.SessionTimeout, m.setting(ctx, "group.min.session.timeout.ms"), m.setting(ctx, "group.max.session.timeout.ms"), e.Err)
			case errors.Is(e.Err, kerr.InconsistentGroupProtocol):
				return fmt.Errorf("join group %s: its members are consumers of another kind. Stop them, or give this application an id of its own (%w)", m.cfg.Group, e.Err)
			}
		}
	}
}

// Drain gives all partitions away through Revoked and ends the heartbeats. A static member stays in the group until its
// session times out.
func (m *Member) Drain(ctx context.Context) error { return m.cl.LeaveGroupContext(ctx) }

// Leave tells the group that a drained member is gone, which the client does not for a static one.
func (m *Member) Leave(ctx context.Context) error {
	id, _ := m.cl.GroupMetadata()
	if id == "" {
		return nil
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = m.cfg.Group, id
	member := kmsg.NewLeaveGroupRequestMember()
	member.MemberID, member.InstanceID = id, &m.cfg.InstanceID
	req.Members = append(req.Members, member)
	resp, err := req.RequestWith(ctx, m.cl)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(resp.ErrorCode)
	for _, r := range resp.Members {
		err = errors.Join(err, kerr.ErrorForCode(r.ErrorCode))
	}
	return err
}

// Close closes the client and keeps the membership. The client would wait for an answer to its join, which the group holds
// back until every member has joined or was given up.
func (m *Member) Close() {
	m.cut()
	m.cl.CloseAllowingRebalance()
}
