package postgres_test

import (
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/cmd/penstock/internal/deposits"
	"github.com/penstock/penstock/cmd/penstock/internal/deposits/postgres"
	"github.com/penstock/penstock/cmd/penstock/internal/deposits/sinktest"
	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/integration/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// database is a Store of its own.
type database struct{ dsn string }

func (d database) Open(t *testing.T) deposits.Sink {
	sink, err := postgres.New(d.dsn, quiet)
	require.NoError(t, err)
	t.Cleanup(sink.Close)
	return sink
}

func (d database) Stored(t *testing.T) []deposits.Deposit {
	rows, err := pgtest.Connect(t, d.dsn).Query(t.Context(), `
SELECT partition, record_offset, coalesce(convert_to(session_id, 'UTF8'), session_id_bytes), amount::text, reason, closed_at
FROM penstock_deposits ORDER BY topic, partition, record_offset`)
	require.NoError(t, err)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (deposits.Deposit, error) {
		var d deposits.Deposit
		var id []byte
		var amount string
		var at *time.Time
		err := row.Scan(&d.Partition, &d.Offset, &id, &amount, &d.Reason, &at)
		d.SessionID, d.Amount = string(id), decimal.MustParse(amount)
		if at != nil {
			d.ClosedAt = *at
		}
		return d, err
	})
	require.NoError(t, err)
	return all
}

func TestIsASink(t *testing.T) {
	server := pgtest.Start(t)
	sinktest.Run(t, func(*testing.T) sinktest.Store { return database{server.Database("UTF8")} })
}

// Whatever is wrong with a DSN, no message shows the password.
func TestNoMessageShowsThePassword(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:geheim@localhost:port/db", "postgres://u:geheim/x@localhost/db", "postgres://u:geheim?a=b@localhost/db", "postgres://u:ge%zzheim@h/db",
		"host=h password=geheim sslmode=maybe", "host=h password='geheim", "u:geheim@h", "postgres://u:geheim@h/db?sslrootcert=/no/such/file&sslmode=verify-full",
	} {
		sink, err := postgres.New(dsn, quiet)
		if err == nil {
			err = sink.Prepare(t.Context())
			require.NotContains(t, sink.Name(), "heim", dsn)
			sink.Close()
		}
		require.Error(t, err, dsn)
		require.NotContains(t, err.Error(), "heim", dsn)
	}
}

// What time may mend is told from what it may not.
func TestFaultsAreTold(t *testing.T) {
	server := pgtest.Start(t)
	dsn := server.Database("UTF8")
	prepare := func(dsn string) error {
		sink := database{dsn}.Open(t)
		return sink.Prepare(t.Context())
	}
	require.NoError(t, prepare(dsn))
	require.NoError(t, prepare(dsn), "a second time there is nothing to do")

	for name, c := range map[string]struct{ dsn, says string }{
		"encoding":     {server.Database("LATIN1"), "has the encoding LATIN1"},
		"no database":  {dsn + "x", "does not exist"},
		"wrong log-in": {strings.Replace(dsn, "penstock:", "penstock:wrong", 1), "password authentication failed"},
	} {
		err := prepare(c.dsn)
		require.ErrorContains(t, err, c.says, name)
		require.False(t, deposits.IsUnavailable(err), name)
		require.NotContains(t, err.Error(), pgtest.Password)
	}

	conn := pgtest.Connect(t, dsn)
	_, err := conn.Exec(t.Context(), `INSERT INTO penstock_schema_version VALUES (99, 'later')`)
	require.NoError(t, err)
	err = prepare(dsn)
	require.ErrorContains(t, err, "use a newer penstock")
	require.False(t, deposits.IsUnavailable(err))
	_, err = conn.Exec(t.Context(), `DELETE FROM penstock_schema_version WHERE version = 99`)
	require.NoError(t, err)

	sink := database{dsn}.Open(t)
	begin := map[int32]int64{0: 0}
	_, err = sink.Claim(t.Context(), sinktest.Source, "a", begin)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `ALTER TABLE penstock_deposit_offsets RENAME TO gone`)
	require.NoError(t, err)
	_, err = sink.Claim(t.Context(), sinktest.Source, "a", begin)
	require.ErrorContains(t, err, "penstock_deposit_offsets")
	require.False(t, deposits.IsUnavailable(err), "a table that is gone does not come back")
	_, err = conn.Exec(t.Context(), `ALTER TABLE gone RENAME TO penstock_deposit_offsets`)
	require.NoError(t, err)

	server.Crash()
	_, err = sink.Claim(t.Context(), sinktest.Source, "a", begin)
	require.True(t, deposits.IsUnavailable(err), "%v", err)
	require.True(t, deposits.IsUnavailable(sink.Prepare(t.Context())))
	server.Restart()
	require.NoError(t, sink.Prepare(t.Context()))
	_, err = sink.Claim(t.Context(), sinktest.Source, "a", begin)
	require.NoError(t, err)
}
