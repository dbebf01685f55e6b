package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/integration/kafkatest"
	"github.com/penstock/penstock/integration/pgtest"
)

const (
	closings          = 1_000_000
	depositFaults     = 10
	depositPartitions = 8
)

// account is what one session's deposits add up to.
type account struct {
	cents int64
	count int
}

// Two processes under load, killed at random moments, one frozen past its session, and the database crashed once: at the
// end each of a million closing updates is one row, and the sum of each session is equal to the cent.
func TestDepositsAreStoredExactlyOnce(t *testing.T) {
	d := newDeposits(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const pause = 2 * time.Second
	type fed struct {
		accounts map[string]account
		err      error
	}
	feeding := make(chan fed, 1)
	go func() {
		accounts, err := closeSessions(d.broker.Addr(), closings, depositFaults*pause, seed)
		feeding <- fed{accounts, err}
	}()

	// One has a static id and is back at once, the other's partitions wait for its session's end.
	var started []*process
	begin := func(n int) *process {
		args := []string{}
		if n == 0 {
			args = append(args, "--instance", "first")
		}
		p := d.begin(args...)
		started = append(started, p)
		return p
	}
	members := []*process{begin(0), begin(1)}
	for i := range depositFaults {
		time.Sleep(pause/2 + time.Duration(rng.Int64N(int64(pause))))
		n := i % 2
		members[n].running()
		switch i {
		case 3: // while one of them stores, so that it notices
			require.Eventually(t, func() bool {
				return strings.Contains(members[0].log.tail(1<<20)+members[1].log.tail(1<<20), `msg="partitions claimed"`)
			}, 30*time.Second, 20*time.Millisecond)
			d.server.Crash()
			time.Sleep(2 * time.Second)
			d.server.Restart()
			continue
		case 6:
			require.NoError(t, members[n].cmd.Process.Signal(syscall.SIGSTOP))
			time.Sleep(9 * time.Second)
			require.NoError(t, members[n].cmd.Process.Signal(syscall.SIGCONT))
			continue
		}
		members[n].kill()
		members[n] = begin(n)
	}
	want := <-feeding
	require.NoError(t, want.err)
	d.await(closings, 5*time.Minute)
	for _, m := range members {
		m.stop()
	}
	said := map[string]int{}
	for _, p := range started {
		log := p.log.tail(1 << 20)
		require.NotContains(t, log, pgtest.Password)
		for _, event := range []string{`msg="partitions claimed"`, `msg=waiting`, `msg="going on"`, `msg="starting over"`} {
			said[event] += strings.Count(log, event)
		}
	}
	require.Positive(t, said["msg=waiting"], "the crash of the database is said")
	t.Logf("%d kills, a frozen process, a crash of the database; the %d processes said %v", depositFaults-2, len(started), said)
	require.Equal(t, want.accounts, d.accounts())
}

// How fast a topic that is full is stored, by one process and by two.
func TestDepositsRate(t *testing.T) {
	const rows = 200_000
	for _, processes := range []int{1, 2} {
		d := newDeposits(t)
		accounts, err := closeSessions(d.broker.Addr(), rows, 0, 1)
		require.NoError(t, err)
		began := time.Now()
		var all []*process
		for range processes {
			all = append(all, d.begin())
		}
		took := d.await(rows, 5*time.Minute).Sub(began)
		t.Logf("%d processes: %d rows in %v, start included: %.0f rows/s", processes, rows, took.Round(time.Millisecond), rows/took.Seconds())
		require.Equal(t, accounts, d.accounts())
		for _, p := range all {
			p.stop()
			if usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
				t.Logf("a process: %v of CPU, %d MiB of memory at most", p.cmd.ProcessState.UserTime()+p.cmd.ProcessState.SystemTime(), usage.Maxrss>>10)
			}
		}
	}
}

// The rights that deploy/acls.txt names for deposits are enough, and one that is missing is named.
func TestDepositsNeedsTheRightsOfTheList(t *testing.T) {
	d := newDeposits(t,
		kafkatest.WithConfig("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
		kafkatest.WithConfig("allow.everyone.if.no.acl.found", "true"))
	adm := d.broker.Admin(t)
	rights := func(b *kadm.ACLBuilder) *kadm.ACLBuilder { return b.ResourcePatternType(kadm.ACLPatternLiteral) }
	create := func(b *kadm.ACLBuilder) {
		t.Helper()
		rs, err := adm.CreateACLs(t.Context(), b)
		require.NoError(t, err)
		for _, r := range rs {
			require.NoError(t, r.Err)
		}
	}
	const everyone = "User:ANONYMOUS"
	create(rights(kadm.NewACLs().Allow(everyone).AllowHosts("*").Clusters().Operations(kadm.OpAll))) // the broker itself is the same principal
	// Write is for the producer of this test.
	create(rights(kadm.NewACLs().Allow(everyone).AllowHosts("*").Topics("session-updates").Operations(kadm.OpRead, kadm.OpWrite)))
	create(rights(kadm.NewACLs().Allow(everyone).AllowHosts("*").Groups("session-updates-deposits").Operations(kadm.OpRead)))

	p := d.begin()
	accounts, err := closeSessions(d.broker.Addr(), 10, 0, 1)
	require.NoError(t, err)
	d.await(10, time.Minute)
	require.Equal(t, accounts, d.accounts())
	p.stop()
	for _, c := range []struct {
		deny *kadm.ACLBuilder
		says string
	}{
		{kadm.NewACLs().Deny(everyone).DenyHosts("*").Groups("session-updates-deposits"), "the right Read on the group"},
		{kadm.NewACLs().Deny(everyone).DenyHosts("*").Topics("session-updates"), "TOPIC_AUTHORIZATION_FAILED"},
	} {
		deny := rights(c.deny).Operations(kadm.OpRead)
		create(deny)
		_, errs, status := run(t, 30*time.Second, "deposits", "--brokers", d.broker.Addr())
		require.Equal(t, 1, status, errs)
		require.Contains(t, lastLine(errs), c.says)
		_, err := adm.DeleteACLs(t.Context(), deny)
		require.NoError(t, err)
	}
}

// depositsRig is a broker and a database, and the processes between them.
type depositsRig struct {
	t      *testing.T
	broker *kafkatest.Broker
	server *pgtest.Server
	dsn    string
}

func newDeposits(t *testing.T, opts ...kafkatest.Option) *depositsRig {
	t.Helper()
	d := &depositsRig{t: t, server: pgtest.Start(t), broker: kafkatest.Start(t, opts...)}
	d.broker.CreateTopic(t, "session-updates", depositPartitions, nil)
	d.dsn = d.server.Database("UTF8")
	t.Setenv("PENSTOCK_DEPOSITS_POSTGRES", d.dsn) // no argument, which anybody can see
	return d
}

func (d *depositsRig) begin(more ...string) *process {
	d.t.Helper()
	return start(d.t, append([]string{"deposits", "--brokers", d.broker.Addr(), "--session-timeout", "6s"}, more...)...)
}

// await waits until the table has so many rows, and returns when the last was stored.
func (d *depositsRig) await(rows int, limit time.Duration) time.Time {
	d.t.Helper()
	conn := pgtest.Connect(d.t, d.dsn)
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Second) {
		var n int
		var last time.Time
		err := conn.QueryRow(context.Background(), `SELECT count(*), coalesce(max(stored_at), now()) FROM penstock_deposits`).Scan(&n, &last)
		if undefined := new(pgconn.PgError); !errors.As(err, &undefined) || undefined.Code != "42P01" { // else no process has made it yet
			require.NoError(d.t, err)
		}
		if n == rows {
			return last
		}
		require.Less(d.t, n, rows, "more rows than updates")
		require.True(d.t, time.Now().Before(deadline), "%d of %d rows within %v", n, rows, limit)
	}
}

// accounts reads what the database says of each session.
func (d *depositsRig) accounts() map[string]account {
	d.t.Helper()
	rows, err := pgtest.Connect(d.t, d.dsn).Query(context.Background(),
		`SELECT session_id, (sum(amount) * 100)::bigint, count(*) FROM penstock_deposits GROUP BY session_id`)
	require.NoError(d.t, err)
	accounts := map[string]account{}
	var id string
	var a account
	_, err = pgx.ForEachRow(rows, []any{&id, &a.cents, &a.count}, func() error {
		accounts[id] = a
		return nil
	})
	require.NoError(d.t, err)
	return accounts
}

// closeSessions produces n closing updates of a few thousand sessions in transactions, and among them others: updates of
// open sessions, and transactions that are aborted. It returns what was committed.
func closeSessions(addr string, n int, over time.Duration, seed uint64) (map[string]account, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID("updates"))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	const perTransaction = 2000
	rng := rand.New(rand.NewPCG(seed, 1))
	ctx := context.Background()
	accounts := map[string]account{}
	began := time.Now()
	for sent := 0; sent < n; {
		if ahead := time.Duration(float64(over)*float64(sent)/float64(n)) - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		}
		if err := cl.BeginTransaction(); err != nil {
			return nil, err
		}
		commit := rng.IntN(20) > 0
		count := min(perTransaction, n-sent)
		for range count {
			id, cents := fmt.Sprintf("session-%d", rng.IntN(5000)), rng.Int64N(50_000)
			if rng.IntN(4) == 0 {
				cl.Produce(ctx, update(id, cents, false), nil)
			}
			cl.Produce(ctx, update(id, cents, true), nil)
			if commit {
				a := accounts[id]
				accounts[id] = account{a.cents + cents, a.count + 1}
			}
		}
		if err := cl.Flush(ctx); err != nil {
			return nil, err
		}
		if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			return nil, err
		}
		if commit {
			sent += count
		}
	}
	return accounts, nil
}

func update(id string, cents int64, closes bool) *kgo.Record {
	r := &kgo.Record{Topic: "session-updates", Key: []byte(id),
		Value: fmt.Appendf(nil, `{"sessionId":%q,"currentBalance":%d.%02d,"depositCurrentBalance":%t}`, id, cents/100, cents%100, closes)}
	if closes {
		r.Headers = []kgo.RecordHeader{{Key: "penstock.close.reason", Value: []byte("deposit")}}
	}
	return r
}
