package deposits

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/session"
)

// decoder tells closing updates from others. The output topic is penstock's own: a record that is no update is a fault
// that somebody must look at.
type decoder struct {
	updates codec.Codec[session.SessionUpdate]
	skip    map[Place]bool
}

// Place is where a record stands in the topic.
type Place struct {
	Partition int32
	Offset    int64
}

func newDecoder(skip []Place) *decoder {
	d := &decoder{updates: session.SessionUpdateJSON(), skip: map[Place]bool{}}
	for _, p := range skip {
		d.skip[p] = true
	}
	return d
}

// read returns the deposit of a closing update, and false for every other update.
func (d *decoder) read(r *kgo.Record) (Deposit, bool, error) {
	if d.skip[Place{r.Partition, r.Offset}] {
		return Deposit{}, false, nil
	}
	u, err := d.updates.Decode(r.Value)
	reason, named := closeReason(r)
	switch {
	case err == nil && string(r.Key) != u.SessionID:
		err = fmt.Errorf("its key %q is not its session id %q", r.Key, u.SessionID)
	case err == nil && u.DepositCurrentBalance != named:
		err = fmt.Errorf("depositCurrentBalance is %t, and the header %s is there: %t", u.DepositCurrentBalance, session.CloseReason, named)
	case err == nil && (!utf8.ValidString(reason) || strings.ContainsRune(reason, 0)):
		err = fmt.Errorf("its header %s is no text: %q", session.CloseReason, reason)
	case r.Value == nil:
		err = errors.New("it has no value")
	}
	if err != nil {
		return Deposit{}, false, fmt.Errorf("topic %s partition %d offset %d is no session update: %w; "+
			"nothing behind it is stored; look at it, and pass over it with --skip %[2]d/%[3]d if it is no deposit", r.Topic, r.Partition, r.Offset, err)
	}
	if !named {
		return Deposit{}, false, nil
	}
	dep := Deposit{Partition: r.Partition, Offset: r.Offset, SessionID: u.SessionID, Amount: u.CurrentBalance, Reason: reason}
	if r.Timestamp.UnixMilli() >= 0 {
		dep.ClosedAt = r.Timestamp
	}
	return dep, true, nil
}

func closeReason(r *kgo.Record) (string, bool) {
	for _, h := range r.Headers {
		if h.Key == session.CloseReason {
			return string(h.Value), true
		}
	}
	return "", false
}
