package integration

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
)

// The doctor finds nothing wrong beside a service that runs, measures the clock, and names a timeout that is too long.
func TestDoctor(t *testing.T) {
	b := kafkatest.Start(t)
	b.CreateTopic(t, "in", 2, nil)
	b.CreateTopic(t, "out", 2, nil)
	base := []string{"--brokers", b.Addr(), "--app", "app", "--input", "in", "--output", "out"}
	p := start(t, append([]string{"run", "--state-dir", t.TempDir()}, base...)...)
	waitForTopic(t, b, "app-dead-letters")
	out, errs, status := run(t, time.Minute, append([]string{"doctor", "--state-dir", t.TempDir()}, base...)...)
	require.Zero(t, status, "%s%s", out, errs)
	require.Regexp(t, `ok +clock +this machine's clock`, out)
	require.Contains(t, out, "transactional ids may be used, with a timeout of 10s (at most 15m0s)")
	out, _, status = run(t, time.Minute, append([]string{"doctor", "--state-dir", t.TempDir(), "--session-timeout", "20m", "--transaction-timeout", "20m"}, base...)...)
	require.Equal(t, 1, status)
	require.Contains(t, out, "transaction timeout 20m0s is longer than the brokers' transaction.max.timeout.ms (at most 15m0s)")
	p.running()
	p.stop()
}

// A transaction on a committed offset that does not end is named, with whose it is; one that does is none.
func TestDoctorNamesAnOffsetThatIsHeld(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "held", 2)
	p := c.member(0)
	produce(t, append(c.common[:2:2], sample(t, 200))...)
	require.Equal(t, 200, c.audit().Transactions)
	p.stop()
	doctor := func() string {
		out, errs, _ := run(t, time.Minute, append([]string{"doctor", "--state-dir", t.TempDir(), "--transaction-timeout", "1s"}, c.common...)...)
		t.Log(out, errs)
		return out
	}
	require.Regexp(t, `ok +offsets +no transaction holds a committed offset`, doctor())

	const held = 1
	end := c.holdOffset(held)
	out := doctor()
	require.Regexp(t, `fail +offsets +the transaction on the committed offset of topic transactions partition 1, group held, is open for longer than its time-out 1s and 12s`, out)
	require.Contains(t, out, "of transactional id somebody: start the process that wrote it once more, under its --instance")

	waits := time.AfterFunc(3*time.Second, end) // within the time that it may take
	defer waits.Stop()
	require.Regexp(t, `ok +offsets +`, doctor())
}

// F52: the right that run --repartition needs to keep its topic small is named where it is missing, as a warning.
func TestDoctorNamesTheRightToPurge(t *testing.T) {
	b := kafkatest.Start(t,
		kafkatest.WithConfig("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
		kafkatest.WithConfig("allow.everyone.if.no.acl.found", "true"))
	for _, topic := range []string{"in", "out", "app-in-repartition"} {
		b.CreateTopic(t, topic, 2, nil)
	}
	doctor := func() string {
		out, errs, _ := run(t, time.Minute, "doctor", "--brokers", b.Addr(), "--app", "app", "--input", "in", "--output", "out", "--state-dir", t.TempDir(), "--repartition")
		require.Contains(t, out, "topic app-in-repartition has 2 partitions", errs)
		return out
	}
	require.NotContains(t, doctor(), "the right DELETE")
	denied, err := b.Admin(t).CreateACLs(t.Context(), kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpDelete).
		Deny("User:ANONYMOUS").DenyHosts("*").Topics("app-in-repartition"))
	require.NoError(t, err)
	require.NoError(t, denied[0].Err)
	allowed, err := b.Admin(t).CreateACLs(t.Context(), kadm.NewACLs().ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead, kadm.OpWrite, kadm.OpDescribeConfigs).
		Allow("User:ANONYMOUS").AllowHosts("*").Topics("app-in-repartition"))
	require.NoError(t, err)
	for _, a := range allowed {
		require.NoError(t, a.Err)
	}
	var out string
	require.Eventually(t, func() bool { out = doctor(); return strings.Contains(out, "the right DELETE") }, 20*time.Second, time.Second)
	require.Regexp(t, `warn +rights +the right DELETE on topic app-in-repartition is missing: what is processed stays there, and the topic grows\n +-> kafka-acls .*--operation DELETE --topic app-in-repartition`, out)
}
