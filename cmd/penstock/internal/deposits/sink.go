package deposits

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/penstock/penstock/processor/session"
)

// Sink is a store of deposits that also holds how far each partition of the source is stored. A second store is one more
// implementation; package sinktest holds what each must do.
//
// A method that cannot tell whether it took effect returns an error that is [Unavailable]: the caller starts over from
// what Claim then says.
type Sink interface {
	// Prepare makes the store ready: tables, rights, version. Several instances may call it at once.
	Prepare(ctx context.Context) error

	// Claim makes owner the one writer of some partitions, and returns where each goes on. A partition that the store
	// does not know begins at its offset in begin. What an earlier owner tries to write afterwards has no effect.
	// Partitions that are stored for another source are an error that wraps ErrForeign, and none is claimed.
	Claim(ctx context.Context, s Source, owner string, begin map[int32]int64) (map[int32]Claim, error)

	// Write stores the batch's deposits and the progress of all its partitions, or nothing. Where a claim of the batch
	// does not hold any more, or a partition stands elsewhere than the batch says, the error wraps ErrTakenOver.
	Write(ctx context.Context, b *Batch) error

	// Close lets go of what the sink holds.
	Close()
}

// Source is the topic that deposits come from, and the group that shares the work. Topics of one name that were made at
// different times, or on different clusters, are different.
type Source struct {
	Topic     string
	TopicID   string // "" where the brokers give none
	ClusterID string
	Group     string
}

// Claim is the right to write a partition.
type Claim struct {
	Next  int64 // offset of the first record that is not stored
	Epoch int64 // rises with each claim of the partition
}

// Deposit is a closing update, and its place.
type Deposit struct {
	Partition int32
	Offset    int64
	SessionID string         // not empty, valid UTF-8; may hold any character, U+0000 too
	Amount    session.Amount // to be stored with all its digits and its scale
	Reason    string         // header penstock.close.reason
	ClosedAt  time.Time      // the record's, in milliseconds; zero where it has none
}

// Progress is what a batch covers of a partition: the offsets from First to below Next.
type Progress struct{ First, Next, Epoch int64 }

// Batch is what one transaction stores. The deposits of a partition are in the order of their offsets.
type Batch struct {
	Source   Source
	Owner    string
	Deposits []Deposit
	Progress map[int32]Progress
}

var (
	// ErrTakenOver says that another owner claimed a partition. Nothing was written.
	ErrTakenOver = errors.New("another instance has taken over")
	// ErrForeign says that what is stored belongs to another source.
	ErrForeign = errors.New("is stored for another source")
)

// Foreign is the error for a partition that is stored for another source.
func Foreign(partition int32, stored, asked Source) error {
	name, a, b := "topic id", stored.TopicID, asked.TopicID
	way := "it was deleted and made anew, and its offsets count from the start again"
	switch {
	case stored.ClusterID != asked.ClusterID:
		name, a, b = "cluster", stored.ClusterID, asked.ClusterID
		way = "these are brokers of another cluster, whose offsets are others"
	case stored.TopicID == asked.TopicID:
		name, a, b = "group", stored.Group, asked.Group
		way = fmt.Sprintf("use --group %s, so that all instances share the work", stored.Group)
	}
	return fmt.Errorf("topic %s partition %d %w: %s %s is stored, this is %s: %s; see \"Deposits\" in OPERATING.md",
		asked.Topic, partition, ErrForeign, name, a, b, way)
}

// Unavailable marks an error that time may mend: the store does not answer, restarts, or is full.
func Unavailable(err error) error { return &unavailable{err} }

// IsUnavailable reports whether time may mend it.
func IsUnavailable(err error) bool {
	var u *unavailable
	return errors.As(err, &u)
}

type unavailable struct{ err error }

func (u *unavailable) Error() string { return u.err.Error() }

func (u *unavailable) Unwrap() error { return u.err }
