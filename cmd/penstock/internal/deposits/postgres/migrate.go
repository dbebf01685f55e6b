package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var files embed.FS

// migrationLock is the key of the advisory lock under which one instance changes the schema.
const migrationLock = 0x70656e73746f636b // "penstock"

// Of penstock_schema_version, which says which migrations the database has.
const (
	versionExists = `SELECT to_regclass('penstock_schema_version') IS NOT NULL`
	versionTable  = `CREATE TABLE IF NOT EXISTS penstock_schema_version (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)`
	versionNewest = `SELECT coalesce(max(version), 0) FROM penstock_schema_version`
	versionNote   = `INSERT INTO penstock_schema_version (version, name) VALUES ($1, $2)`
)

var errSchema = errors.New("the database's schema has version")

type migration struct {
	version   int
	name, sql string
}

// migrations are the files NNNN_name.sql, which are numbered from 1 without a gap.
func migrations() ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	all := make([]migration, len(names))
	for i, file := range names {
		number, name, _ := strings.Cut(strings.TrimSuffix(path.Base(file), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != i+1 {
			return nil, fmt.Errorf("migration %s: its number should be %04d", file, i+1)
		}
		sql, err := files.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all[i] = migration{version, name, string(sql)}
	}
	return all, nil
}

// migrate brings the schema to the newest version. Where it is there already, no right but to read is needed. Instances
// that start together wait for the first, which does it in one transaction.
func (s *Sink) migrate(ctx context.Context) error {
	all, err := migrations()
	if err != nil {
		return err
	}
	has, err := s.version(ctx)
	if err != nil {
		return err
	}
	if has == len(all) {
		return nil
	}
	if has > len(all) {
		return fmt.Errorf("%w %d and this program knows %d: use a newer penstock", errSchema, has, len(all))
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.apply(ctx, tx, all) })
}

// version is that of the schema, 0 where there is none.
func (s *Sink) version(ctx context.Context) (int, error) {
	var exists bool
	if err := s.pool.QueryRow(ctx, versionExists).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	var has int
	err := s.pool.QueryRow(ctx, versionNewest).Scan(&has)
	return has, err
}

// apply looks again under the lock, since another instance may have been faster.
func (s *Sink) apply(ctx context.Context, tx pgx.Tx, all []migration) error {
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, versionTable); err != nil {
		return err
	}
	var has int
	if err := tx.QueryRow(ctx, versionNewest).Scan(&has); err != nil {
		return err
	}
	for _, m := range all[min(has, len(all)):] {
		if _, err := tx.Conn().PgConn().Exec(ctx, m.sql).ReadAll(); err != nil { // several statements
			return fmt.Errorf("migration %04d_%s: %w", m.version, m.name, err)
		}
		if _, err := tx.Exec(ctx, versionNote, m.version, m.name); err != nil {
			return err
		}
		s.logger.Info("database migrated", "database", s.Name(), "version", m.version, "migration", m.name)
	}
	return nil
}
