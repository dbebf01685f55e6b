package engine

import (
	"context"

	"github.com/penstock/penstock/processor/internal/broker"
)

// Transactor writes records, and a group's offsets with them, in transactions of a producer of its own: for tools beside an
// application. Two of one id shut each other out: the later one goes on. It is used by one goroutine.
type Transactor = broker.Transactor

// TransactorConfig is what a [Transactor] is made from.
type TransactorConfig = broker.TransactorConfig

// NewTransactor connects and takes the id over: it ends what a predecessor left open, and says the end of its last
// transaction again where brokers may have lost a part of it. Offsets that are read from here on are those of an owner.
func NewTransactor(ctx context.Context, cfg Config, t TransactorConfig) (*Transactor, error) {
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	cluster, err := broker.Connect(reach, cfg.broker(t.ID))
	if err != nil {
		return nil, err
	}
	x, err := cluster.NewTransactor(ctx, t)
	if err != nil {
		cluster.Close()
	}
	return x, err
}
