package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/restore"
	"github.com/penstock/penstock/processor/internal/worker"
	"github.com/penstock/penstock/statestore"
	"github.com/penstock/penstock/statestore/pebblestore"
)

// openTables opens the store of each table, with an equal part of the memory, and one client for all of them. closeAll
// is called once nobody looks up any more.
func (e *engine) openTables(ctx context.Context, clusterID string) (tables *restore.Tables, closeAll func(), err error) {
	tables = &restore.Tables{}
	if err := e.dir.KeepTables(e.topo.Tables); err != nil || len(e.topo.Tables) == 0 {
		return tables, func() {}, err
	}
	connect, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	cluster, err := broker.Connect(connect, e.cfg.broker(e.topo.ID+"-"+e.instance))
	if err != nil {
		return nil, nil, err
	}
	var stores []*pebblestore.Store
	closeAll = func() {
		cluster.Close()
		for i, s := range stores {
			if err := s.Close(); err != nil { // a copy, which the next start completes
				e.cfg.Logger.Warn("a table's store did not close well", "topic", e.topo.Tables[i], "error", err)
			}
		}
	}
	for _, topic := range e.topo.Tables {
		var store *pebblestore.Store
		err := e.whenRoom(ctx, func() (err error) { store, err = e.openTable(topic); return err })
		if err == nil && store == nil {
			err = ctx.Err()
		}
		if err != nil {
			closeAll()
			return nil, nil, fmt.Errorf("open the table's store: %w", &restore.TableError{Topic: topic, Err: err})
		}
		stores = append(stores, store)
		cfg := restore.TableConfig{App: e.topo.ID, Topic: topic, ClusterID: clusterID, Cluster: cluster, Store: store,
			Logger: e.cfg.Logger, ReadBytes: e.cfg.readBytes, DiskLimit: e.cfg.TableDiskBytes,
			DiskBytes: func() int64 { return int64(store.Metrics().DiskBytes) }}
		if e.cfg.step != nil {
			cfg.Read = func() error { return e.cfg.step(worker.ReadBack) }
		}
		tables.List = append(tables.List, restore.NewTable(cfg))
	}
	return tables, closeAll, nil
}

func (e *engine) openTable(topic string) (*pebblestore.Store, error) {
	o := pebblestore.Options{MemoryBytes: e.cfg.TableMemoryBytes / int64(len(e.topo.Tables)), Logger: e.cfg.Logger.With("table", topic)}
	if e.cfg.openTable != nil {
		return e.cfg.openTable(topic, o)
	}
	return pebblestore.Open(e.dir.TablePath(topic), o)
}

// dropTable deletes a table's store that is damaged, so that the next run reads the topic again. One that must be opened
// again is sound.
func (e *engine) dropTable(err error) error {
	var table *restore.TableError
	if !errors.As(err, &table) || !statestore.IsCorrupt(err) {
		e.cfg.Logger.Warn("a table's store is opened again", "error", err)
		return nil
	}
	e.cfg.Logger.Error("a table's store is damaged; it is deleted and read again from its topic", "error", err)
	return e.dir.DropTable(table.Topic)
}
