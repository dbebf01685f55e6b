// Package doctor checks, before a start or beside a run, what the program needs: brokers, rights, topics, clock, disk.
// It changes nothing but one transactional id of its own, whose transaction it aborts.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
)

// Level is how a check came out.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn"
	Fail Level = "fail"
)

// Check is one line of the report.
type Check struct {
	Level Level  `json:"level"`
	What  string `json:"what"`
	Found string `json:"found"`
	Do    string `json:"do,omitempty"` // the way out
}

// Config is what is checked.
type Config struct {
	Connection         *kafka.Connection
	App, Input, Output string
	Changelogs         []string
	Repartition        []string // topics between the input and the window
	Fillers            []string // applications that fill them, each a group of its own
	DeadLetters        bool
	CreateTopics       bool
	ExactlyOnce        bool
	TransactionTimeout time.Duration
	StateDir           string
}

// checkTimeout bounds one check.
const checkTimeout = 10 * time.Second

// Run makes all checks that can be made. Those of the brokers' side are left out where no broker answers.
func Run(ctx context.Context, cfg Config) []Check {
	d := &doctor{Config: cfg}
	d.stateDir()
	d.files()
	began := time.Now()
	cl, err := cfg.Connection.Client(ctx)
	if err != nil {
		d.add(Fail, "brokers", err.Error(), "mend the connection; what stands on the brokers was not checked")
		return d.checks
	}
	defer cl.Close()
	d.cl, d.adm = cl, kadm.NewClient(cl)
	d.brokers(ctx, time.Since(began))
	d.topics(ctx)
	for _, group := range d.groups() {
		d.group(ctx, group)
	}
	d.held(ctx)
	if cfg.ExactlyOnce {
		d.transactions(ctx)
	}
	return d.checks
}

type doctor struct {
	Config
	cl         *kgo.Client
	adm        *kadm.Client
	brokerIDs  []int32
	partitions int32  // of the input
	counted    string // whose they are
	checks     []Check
}

// groups are all whose offsets the application commits.
func (d *doctor) groups() []string { return append([]string{d.App}, d.Fillers...) }

func (d *doctor) add(level Level, what, found, do string) {
	if level == OK {
		do = ""
	}
	d.checks = append(d.checks, Check{level, what, found, do})
}

// coordinators waits until the groups' coordinators are there: brokers that have just started make them on demand, and an
// answer of theirs that there is none says nothing. What else is wrong, the checks that follow find.
func (d *doctor) coordinators(ctx context.Context) {
	for {
		found := d.adm.FindGroupCoordinators(ctx, d.groups()...)
		if err := found.Error(); err == nil || !kerr.IsRetriable(err) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(heldEvery):
		}
	}
}

func (d *doctor) brokers(ctx context.Context, took time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	m, err := d.adm.BrokerMetadata(ctx)
	if err != nil {
		d.add(Fail, "brokers", err.Error(), "look at the brokers")
		return
	}
	for _, b := range m.Brokers {
		d.brokerIDs = append(d.brokerIDs, b.NodeID)
	}
	d.coordinators(ctx)
	d.add(OK, "brokers", fmt.Sprintf("%d brokers of cluster %s answer after %v", len(m.Brokers), m.Cluster, took.Round(time.Millisecond)), "")
	if len(m.Brokers) < 3 {
		d.add(Warn, "replication", fmt.Sprintf("%d brokers: topics cannot have 3 replicas", len(m.Brokers)), "for data that must survive a broker, run at least 3")
	}
}
