package integration

import (
	"context"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
)

// F52: with one right denied at a time, run names it within 10 s; the rights of deploy/acls.txt are enough.
func TestMissingRightsAreNamed(t *testing.T) {
	b := kafkatest.Start(t,
		kafkatest.WithConfig("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
		kafkatest.WithConfig("allow.everyone.if.no.acl.found", "true"))
	_, err := program() // so that no build is in the times below
	require.NoError(t, err)
	const everyone = "User:ANONYMOUS"
	base := []string{"--brokers", b.Addr(), "--app", "app", "--input", "in", "--output", "out"}
	for _, topic := range []string{"in", "out"} {
		b.CreateTopic(t, topic, 2, nil)
	}
	adm := b.Admin(t)
	ctx := context.Background()
	acl := func(resource func(*kadm.ACLBuilder, ...string) *kadm.ACLBuilder, name string, pattern kadm.ACLPattern, allow bool, ops ...kadm.ACLOperation) *kadm.ACLBuilder {
		build := kadm.NewACLs().ResourcePatternType(pattern).Operations(ops...)
		if allow {
			build.Allow(everyone).AllowHosts("*")
		} else {
			build.Deny(everyone).DenyHosts("*")
		}
		return resource(build, name)
	}
	create := func(build *kadm.ACLBuilder) {
		t.Helper()
		rs, err := adm.CreateACLs(ctx, build)
		require.NoError(t, err)
		for _, r := range rs {
			require.NoError(t, r.Err)
		}
	}
	topics := func(b *kadm.ACLBuilder, n ...string) *kadm.ACLBuilder { return b.Topics(n...) }
	groups := func(b *kadm.ACLBuilder, n ...string) *kadm.ACLBuilder { return b.Groups(n...) }
	txns := func(b *kadm.ACLBuilder, n ...string) *kadm.ACLBuilder { return b.TransactionalIDs(n...) }
	clusters := func(b *kadm.ACLBuilder, _ ...string) *kadm.ACLBuilder { return b.Clusters() }
	create(acl(clusters, "", kadm.ACLPatternLiteral, true, kadm.OpAll)) // the broker itself is the same principal
	create(acl(clusters, "", kadm.ACLPatternLiteral, false, kadm.OpCreate, kadm.OpIdempotentWrite))
	// The rights of deploy/acls.txt. They also take away what nobody is allowed.
	create(acl(topics, "in", kadm.ACLPatternLiteral, true, kadm.OpRead, kadm.OpDescribeConfigs))
	create(acl(topics, "out", kadm.ACLPatternLiteral, true, kadm.OpWrite, kadm.OpDescribeConfigs))
	create(acl(topics, "app-", kadm.ACLPatternPrefixed, true, kadm.OpRead, kadm.OpWrite, kadm.OpCreate, kadm.OpDescribeConfigs))
	create(acl(groups, "app", kadm.ACLPatternLiteral, true, kadm.OpRead))
	create(acl(txns, "app-", kadm.ACLPatternPrefixed, true, kadm.OpWrite))

	deny := func(build *kadm.ACLBuilder) func() {
		create(build)
		return func() {
			_, err := adm.DeleteACLs(ctx, build)
			require.NoError(t, err)
		}
	}
	fails := func(t *testing.T, says ...string) {
		t.Helper()
		began := time.Now()
		_, errs, status := run(t, 30*time.Second, append([]string{"run", "--state-dir", t.TempDir()}, base...)...)
		require.Equal(t, 1, status, errs)
		for _, s := range says {
			require.Contains(t, errs, s)
		}
		require.Less(t, time.Since(began), 10*time.Second, errs)
	}
	t.Run("create", func(t *testing.T) {
		defer deny(acl(topics, "app-", kadm.ACLPatternPrefixed, false, kadm.OpCreate))()
		fails(t, "the right Create on topic", "app-total-changelog")
	})
	works := func(t *testing.T) string {
		t.Helper()
		p := start(t, append([]string{"run", "--state-dir", t.TempDir()}, base...)...)
		produce(t, "--brokers", b.Addr(), "--input", "in", sample(t, 100))
		audit(t, base...)
		p.running()
		p.stop()
		return p.log.tail(100000)
	}
	// The producer and the audit of this test are the same principal: give them what they need beside.
	create(acl(topics, "in", kadm.ACLPatternLiteral, true, kadm.OpWrite))
	create(acl(topics, "out", kadm.ACLPatternLiteral, true, kadm.OpRead))
	works(t)
	for _, c := range []struct {
		name string
		deny *kadm.ACLBuilder
		says []string
	}{
		{"transactional id", acl(txns, "app-", kadm.ACLPatternPrefixed, false, kadm.OpWrite), []string{"the right Write on transactional-id", `"app-`, "--operation Write"}},
		{"group", acl(groups, "app", kadm.ACLPatternLiteral, false, kadm.OpRead), []string{"the right Read on group", `"app"`}},
		{"changelog", acl(topics, "app-total-changelog", kadm.ACLPatternLiteral, false, kadm.OpWrite), []string{"the right Write on topic", "app-total-changelog"}},
		{"input", acl(topics, "in", kadm.ACLPatternLiteral, false, kadm.OpRead), []string{"the right Read on topic", `"in"`}},
		{"output", acl(topics, "out", kadm.ACLPatternLiteral, false, kadm.OpWrite), []string{"the right Write on topic", `"out"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			undo := deny(c.deny)
			defer undo()
			fails(t, c.says...)
		})
	}
	t.Run("describe configs", func(t *testing.T) {
		defer deny(acl(topics, "app-total-changelog", kadm.ACLPatternLiteral, false, kadm.OpDescribeConfigs))()
		require.Contains(t, works(t), "DescribeConfigs")
	})
}
