// Package postgres stores deposits in PostgreSQL. Each claim and each batch is one SQL statement, and so one transaction:
// no instance can hold a lock while it is frozen or cut off.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/penstock/penstock/cmd/penstock/internal/deposits"
)

// Sink is a [deposits.Sink].
type Sink struct {
	pool   *pgxpool.Pool
	name   string
	logger *slog.Logger
}

const (
	// connectTimeout bounds one attempt to connect, where the DSN does not.
	connectTimeout = 5 * time.Second
	// statementTimeout is when a database that answers nothing is given up.
	statementTimeout = 30 * time.Second
	// connections are one for writing and one for claims, which come between.
	connections = 2
)

// New reads the DSN, a URL or key=value pairs as libpq takes them; PGHOST, PGPASSWORD, PGPASSFILE and the like are taken
// too. It does not connect. No error shows a part of the DSN.
func New(dsn string, logger *slog.Logger) (*Sink, error) {
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// pgx's own message holds the DSN, and cannot always tell what in it is the password.
		return nil, errors.New("the DSN of PostgreSQL cannot be read (it is not shown, since it may hold a password): " +
			"write it as postgres://USER:PASSWORD@HOST:5432/DATABASE?sslmode=require, special characters of the password as %XX, " +
			"and see that the files that it names exist")
	}
	cfg.MaxConns = connections
	c := cfg.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "penstock deposits"
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg) // connects later
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	name := "postgres://" + net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database
	return &Sink{pool: pool, name: name, logger: logger}, nil
}

// Name says where the database is, without user and password.
func (s *Sink) Name() string { return s.name }

// Close waits for what is under way.
func (s *Sink) Close() { s.pool.Close() }

// Prepare checks the database and brings its schema to the newest version.
func (s *Sink) Prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var encoding string
	if err := s.pool.QueryRow(ctx, `SHOW server_encoding`).Scan(&encoding); err != nil {
		return s.explain("connect to", err)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("%s has the encoding %s, which cannot hold every session id: create it with ENCODING 'UTF8'", s.name, encoding)
	}
	return s.explain("prepare", s.migrate(ctx))
}

// claim leaves rows of another source as they are, and does not return them.
const claim = `
INSERT INTO penstock_deposit_offsets AS o (topic, partition, next_offset, topic_id, cluster_id, consumer_group, owner, epoch)
SELECT $1, b.partition, b.begin, $2, $3, $4, $5, 1
FROM unnest($6::integer[], $7::bigint[]) AS b (partition, begin) ORDER BY b.partition
ON CONFLICT (topic, partition) DO UPDATE SET owner = excluded.owner, epoch = o.epoch + 1, claimed_at = now()
WHERE o.topic_id = excluded.topic_id AND o.cluster_id = excluded.cluster_id AND o.consumer_group = excluded.consumer_group
RETURNING partition, next_offset, epoch`

const foreign = `
SELECT partition, topic_id, cluster_id, consumer_group FROM penstock_deposit_offsets
WHERE topic = $1 AND partition = ANY($2::integer[]) AND (topic_id, cluster_id, consumer_group) IS DISTINCT FROM ($3, $4, $5)
ORDER BY partition LIMIT 1`

// Claim implements [deposits.Sink]. A write that is under way is waited for.
func (s *Sink) Claim(ctx context.Context, src deposits.Source, owner string, begin map[int32]int64) (map[int32]deposits.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	var partitions []int32
	var offsets []int64
	for p, o := range begin {
		partitions, offsets = append(partitions, p), append(offsets, o)
	}
	// Another source is looked for first, so that its owner is left alone.
	var p int32
	stored := deposits.Source{Topic: src.Topic}
	err := s.pool.QueryRow(ctx, foreign, src.Topic, partitions, src.TopicID, src.ClusterID, src.Group).
		Scan(&p, &stored.TopicID, &stored.ClusterID, &stored.Group)
	if err == nil {
		return nil, deposits.Foreign(p, stored, src)
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return nil, s.explain("claim partitions in", err)
	}
	rows, err := s.pool.Query(ctx, claim, src.Topic, src.TopicID, src.ClusterID, src.Group, owner, partitions, offsets)
	if err != nil {
		return nil, s.explain("claim partitions in", err)
	}
	claims := map[int32]deposits.Claim{}
	var c deposits.Claim
	_, err = pgx.ForEachRow(rows, []any{&p, &c.Next, &c.Epoch}, func() error {
		claims[p] = c
		return nil
	})
	if err == nil && len(claims) < len(begin) {
		err = deposits.Unavailable(errors.New("another source claimed a partition at the same time"))
	}
	return claims, s.explain("claim partitions in", err)
}

// write does all or nothing: rows and offsets are written when every partition of the batch is locked and stands as the
// batch says. Locks are taken in the order of the partitions, so that instances do not block each other in a circle.
const write = `
WITH batch AS MATERIALIZED (
    SELECT * FROM unnest($3::integer[], $4::bigint[], $5::bigint[], $6::bigint[]) AS b (partition, epoch, first, next)
), held AS MATERIALIZED (
    SELECT o.partition FROM penstock_deposit_offsets o JOIN batch b USING (partition)
    WHERE o.topic = $1 AND o.owner = $2 AND o.epoch = b.epoch AND o.next_offset = b.first
    ORDER BY o.partition FOR UPDATE OF o
), stored AS (
    INSERT INTO penstock_deposits (topic, partition, record_offset, session_id, session_id_bytes, amount, reason, closed_at)
    SELECT $1, d.partition, d.record_offset, d.session_id, d.session_id_bytes, d.amount::numeric, d.reason, d.closed_at
    FROM unnest($7::integer[], $8::bigint[], $9::text[], $10::bytea[], $11::text[], $12::text[], $13::timestamptz[])
        AS d (partition, record_offset, session_id, session_id_bytes, amount, reason, closed_at)
    WHERE (SELECT count(*) FROM held) = cardinality($3::integer[])
)
UPDATE penstock_deposit_offsets o SET next_offset = b.next, updated_at = now() FROM batch b
WHERE o.topic = $1 AND o.partition = b.partition AND (SELECT count(*) FROM held) = cardinality($3::integer[])`

// Write implements [deposits.Sink].
func (s *Sink) Write(ctx context.Context, b *deposits.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	done, err := s.pool.Exec(ctx, write, arguments(b)...)
	if err != nil {
		return s.explain("write to", err)
	}
	if done.RowsAffected() != int64(len(b.Progress)) {
		return fmt.Errorf("write %d partitions of topic %s: %w", len(b.Progress), b.Source.Topic, deposits.ErrTakenOver)
	}
	return nil
}

// arguments lays the batch out by columns.
func arguments(b *deposits.Batch) []any {
	var partitions []int32
	var epochs, firsts, nexts []int64
	for p, at := range b.Progress {
		partitions, epochs = append(partitions, p), append(epochs, at.Epoch)
		firsts, nexts = append(firsts, at.First), append(nexts, at.Next)
	}
	n := len(b.Deposits)
	of, offsets := make([]int32, n), make([]int64, n)
	ids, amounts, reasons := make([]pgtype.Text, n), make([]string, n), make([]string, n)
	idBytes, times := make([][]byte, n), make([]pgtype.Timestamptz, n)
	for i := range b.Deposits {
		d := &b.Deposits[i]
		of[i], offsets[i] = d.Partition, d.Offset
		if strings.IndexByte(d.SessionID, 0) < 0 {
			ids[i] = pgtype.Text{String: d.SessionID, Valid: true}
		} else {
			idBytes[i] = []byte(d.SessionID)
		}
		amounts[i], reasons[i], times[i] = d.Amount.String(), d.Reason, timestamp(d.ClosedAt)
	}
	return []any{b.Source.Topic, b.Owner, partitions, epochs, firsts, nexts, of, offsets, ids, idBytes, amounts, reasons, times}
}

// latest is the end of what a timestamptz holds.
var latest = time.Date(294276, 12, 31, 0, 0, 0, 0, time.UTC)

// timestamp is null for what is no time, or one that the database cannot hold.
func timestamp(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: t, Valid: !t.IsZero() && t.Before(latest)}
}

// explain names the database, and marks what time may mend. No message of pgx holds the password.
func (s *Sink) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	lasting := errors.Is(err, errSchema)
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		lasting = slices.Contains(lastingClasses, pg.Code[:min(2, len(pg.Code))])
		if pg.Code == "23505" {
			err = fmt.Errorf("a deposit of this offset is there already (%s): were rows of penstock_deposit_offsets deleted, or moved back?", pg.Detail)
		}
	}
	err = fmt.Errorf("%s %s: %w", what, s.name, err)
	if lasting {
		return err
	}
	return deposits.Unavailable(err)
}

// lastingClasses of SQLSTATE stay as they are until somebody does something: feature not supported, data, integrity, log-in,
// database, schema, and names and rights. All others are waited for: connections, resources, locks, a server that starts.
var lastingClasses = []string{"0A", "22", "23", "28", "3D", "3F", "42"}
