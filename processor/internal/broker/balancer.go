package broker

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Candidate is a member of the group as a plan sees it.
type Candidate struct {
	Owned []int32 // the partitions it runs; no two candidates own the same one
	Have  []int64 // by partition: how far its local copy goes into the changelogs, 0 if there is none; may be shorter
}

// announcement is what a member tells the others: behind the user data of its subscription, which the coordinator keeps,
// gives to the leader of each rebalance, and shows to whoever describes the group, together with the assignments. It needs
// no topic, and no right beyond that to read the group. A static member that comes back with another one changes it
// without a rebalance: the coordinator stores the subscription of each join. In a rebalance the coordinator shows neither
// assignments nor subscriptions; the last ones known serve until then.
type announcement struct {
	Address string  `json:"address,omitempty"` // where it answers queries
	Have    []int64 `json:"have,omitempty"`    // as of Candidate
}

// announcementMark stands between the cooperative-sticky balancer's user data and the announcement. That balancer reads
// user data of members of generation -1 only, and ends at the length it has there; other cooperative members take their
// partitions from the subscription itself (KIP-792). No topic's name holds these bytes.
var announcementMark = []byte("\x00penstock ")

// maxAnnouncement bounds an announcement in bytes: the coordinator keeps those of all members in one record. A longer one,
// of a thousand partitions and more, goes without what the member has, and the plan without knowing.
const maxAnnouncement = 16 << 10

func (a announcement) append(dst []byte) []byte {
	raw, err := json.Marshal(a)
	if err == nil && len(raw) > maxAnnouncement {
		raw, err = json.Marshal(announcement{Address: a.Address})
	}
	if err != nil {
		panic(err) // plain data
	}
	return append(append(dst, announcementMark...), raw...)
}

// announced is the zero value where user data holds none.
func announced(userData []byte) (a announcement) {
	if i := bytes.LastIndex(userData, announcementMark); i >= 0 {
		_ = json.Unmarshal(userData[i+len(announcementMark):], &a)
	}
	return a
}

// balancer is the cooperative-sticky one, with its name and its metadata, but with the plan of its owner, who knows of
// local state. Members whose balancer is the plain one may be in the same group, and may lead it.
type balancer struct {
	kgo.GroupBalancer
	cfg MemberConfig
}

// JoinGroupMetadata implements kgo.GroupBalancer.
func (b *balancer) JoinGroupMetadata(topics []string, current map[string][]int32, generation int32) []byte {
	raw := b.GroupBalancer.JoinGroupMetadata(topics, current, generation)
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(raw); err != nil {
		return raw // the group works without
	}
	meta.UserData = announcement{b.cfg.Advertise, b.cfg.Have()}.append(meta.UserData)
	return meta.AppendTo(nil)
}

// MemberBalancer implements kgo.GroupBalancer.
func (b *balancer) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	cb, err := kgo.NewConsumerBalancer(b, members)
	return cb, cb.MemberTopics(), err
}

// Balance implements kgo.ConsumerBalancerBalance. What moves is first taken from its owner, and given away in the rebalance
// that follows, so that no other partition stops (KIP-429).
func (b *balancer) Balance(cb *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	plan := cb.NewPlan()
	for topic, partitions := range topics {
		members, candidates := interested(cb, topic)
		for p, to := range b.cfg.Plan(candidates, partitions) {
			plan.AddPartition(members[to], topic, int32(p))
		}
	}
	plan.AdjustCooperative(cb)
	return plan
}

// interested lists the members that subscribe to a topic. Of several that claim a partition, it is the one's of the highest
// generation: the others missed a rebalance.
func interested(cb *kgo.ConsumerBalancer, topic string) (members []*kmsg.JoinGroupResponseMember, candidates []Candidate) {
	type claim struct {
		candidate  int
		generation int32
	}
	claims := map[int32]claim{}
	cb.EachMember(func(m *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		if !slices.Contains(meta.Topics, topic) {
			return
		}
		for _, owned := range meta.OwnedPartitions {
			if owned.Topic != topic {
				continue
			}
			for _, p := range owned.Partitions {
				if old, ok := claims[p]; !ok || meta.Generation > old.generation {
					claims[p] = claim{len(members), meta.Generation}
				}
			}
		}
		members = append(members, m)
		candidates = append(candidates, Candidate{Have: announced(meta.UserData).Have})
	})
	for p, c := range claims {
		candidates[c.candidate].Owned = append(candidates[c.candidate].Owned, p)
	}
	for i := range candidates {
		slices.Sort(candidates[i].Owned)
	}
	return members, candidates
}
