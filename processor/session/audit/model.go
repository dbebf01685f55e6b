package audit

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/session"
)

// Model is the expectation and what was seen of it. It belongs to one goroutine.
type Model struct {
	cfg     Config
	tracks  map[string]*track
	letters map[place]*letter
	live    map[string]liveValue // of the changelog, by partition and key
	idle    map[string]*idle     // by key
	verdict Verdict

	update  codec.Codec[session.SessionUpdate]
	value   codec.Codec[session.SessionTrackingValue]
	scratch []byte
}

// place is where an input record stands.
type place struct {
	partition int32
	offset    int64
}

// track is all that is known of one key on one input partition.
type track struct {
	partition int32
	open      *sum     // nil: no session is open
	expect    []update // the updates that the transactions yield
	idle      int      // how many of expect are of idle timeouts
	settled   int      // expect[:settled] must have been written
	late      bool     // transactions came that need not be processed yet
	next      int      // expect[:next] is done with
	got       []seen   // what came in place of expect[next:]; nothing as long as all is well
	more      *track   // the same key on another partition, where its producer did not keep to one
}

// update is an expected one.
type update struct {
	balance string
	closed  bool
	offset  int64 // of the transaction
}

// liveValue is the last record of a key in the changelog.
type liveValue struct {
	text   string // of the sum; empty: removed
	offset int64
}

// New returns an empty model.
func New(cfg Config) *Model {
	if cfg.Format == nil {
		cfg.Format = session.TransactionJSON()
	}
	return &Model{cfg: cfg, tracks: map[string]*track{}, letters: map[place]*letter{}, live: map[string]liveValue{}, idle: map[string]*idle{},
		update: session.SessionUpdateJSON(), value: session.SessionTrackingValueJSON()}
}

// Input folds a record of the input topic. One that is not settled may have been processed or not: it came after the
// audit began.
func (m *Model) Input(r Record, settled bool) {
	tx, err := m.read(r)
	var t *track
	var balance *sum
	if err == nil {
		t = m.track(r)
		balance, err = t.add(tx)
	}
	if !m.accept(r, err, settled) {
		return
	}
	m.verdict.Transactions++
	u := update{closed: tx.Deposit, offset: r.Offset, balance: balance.String()}
	t.open = balance
	if tx.Deposit {
		t.open = nil
	}
	if m.cfg.Updates != session.UpdatesClosing || tx.Deposit {
		t.expect = append(t.expect, u)
	}
	m.closeIdle(string(r.Key), t, r.Offset)
	if settled {
		t.settled = len(t.expect)
	} else {
		t.late = true
	}
}

// read decodes a transaction or says why it is bad input.
func (m *Model) read(r Record) (session.Transaction, error) {
	switch {
	case r.Key == nil:
		return session.Transaction{}, errors.New("null key")
	case len(r.Key) == 0:
		return session.Transaction{}, errors.New("empty key")
	case r.Value == nil:
		return session.Transaction{}, errors.New("null value")
	}
	tx, err := m.cfg.Format.Decode(r.Value)
	if err == nil && tx.SessionID != string(r.Key) {
		err = fmt.Errorf("key %.60q, session id %.60q", r.Key, tx.SessionID)
	}
	return tx, err
}

func (t *track) add(tx session.Transaction) (*sum, error) {
	win := parseSum(tx.WinAmount.String())
	if t.open == nil {
		return win, nil
	}
	balance := t.open.plus(win)
	if balance == nil {
		return nil, fmt.Errorf("the sum %v + %v leaves the range", t.open, win)
	}
	return balance, nil
}

func (m *Model) track(r Record) *track {
	t := m.tracks[string(r.Key)]
	if t == nil {
		t = &track{partition: r.Partition}
		m.tracks[string(r.Key)] = t
		return t
	}
	for ; t.partition != r.Partition; t = t.more {
		if t.more == nil {
			t.more = &track{partition: r.Partition}
		}
	}
	return t
}

// letter is a dead letter.
type letter struct {
	partition int32
	offset    int64
	reason    string
	truncated bool
	hash      string // of the original, where it is truncated
	content   [sha256.Size]byte
	matched   bool
}

// reasonTooLarge is the one reason that depends on the topics' limits, which the model does not know.
const reasonTooLarge = "too-large"

// DeadLetter notes a record of the dead-letter topic.
func (m *Model) DeadLetter(r Record) {
	topic, ok := r.header("penstock.error.topic")
	if ok && m.cfg.Input != "" && topic != m.cfg.Input {
		return
	}
	m.verdict.DeadLetters++
	var p place
	partition, _ := r.header("penstock.error.partition")
	offset, _ := r.header("penstock.error.offset")
	if _, err := fmt.Sscanf(partition+" "+offset, "%d %d", &p.partition, &p.offset); err != nil {
		m.wrong("dead letter at partition %d offset %d does not say where it comes from", r.Partition, r.Offset)
		return
	}
	if first := m.letters[p]; first != nil {
		m.duplicated("dead letter of input partition %d offset %d is at partition %d offset %d and again at partition %d offset %d",
			p.partition, p.offset, first.partition, first.offset, r.Partition, r.Offset)
		return
	}
	l := &letter{partition: r.Partition, offset: r.Offset, content: content(r)}
	l.reason, _ = r.header("penstock.error.reason")
	_, l.truncated = r.header("penstock.error.truncated")
	l.hash, _ = r.header("penstock.error.sha256")
	m.letters[p] = l
}

// content tells records apart by key and value.
func content(r Record) [sha256.Size]byte {
	head := fmt.Appendf(nil, "%d %t %t ", len(r.Key), r.Key == nil, r.Value == nil)
	return sha256.Sum256(bytes.Join([][]byte{head, r.Key, r.Value}, nil))
}

// accept says whether an input record is a good transaction, and looks for the dead letter if it is not.
func (m *Model) accept(r Record, bad error, settled bool) bool {
	l := m.letters[place{r.Partition, r.Offset}]
	if l != nil && bad == nil && l.reason == reasonTooLarge {
		bad = errors.New(reasonTooLarge)
	}
	if bad == nil {
		return true // a letter that is there nevertheless matches nothing
	}
	switch {
	case l == nil && (m.cfg.SkipBad || !settled):
	case l == nil:
		m.lost("dead letter of input partition %d offset %d, key %.60q (%v)", r.Partition, r.Offset, r.Key, bad)
	default:
		l.matched = true
		m.compareLetter(r, l)
	}
	return false
}

func (m *Model) compareLetter(r Record, l *letter) {
	same := l.content == content(r)
	if l.truncated {
		same = l.hash == fmt.Sprintf("%x", sha256.Sum256(append(bytes.Clone(r.Key), r.Value...)))
	}
	if !same {
		m.wrong("dead letter at partition %d offset %d is not, byte for byte, the input at partition %d offset %d, key %.60q",
			l.partition, l.offset, r.Partition, r.Offset, r.Key)
	}
	if l.reason == "" {
		m.wrong("dead letter at partition %d offset %d gives no reason", l.partition, l.offset)
	}
}

// Changelog notes a record of the state's changelog.
func (m *Model) Changelog(r Record) {
	if r.Key == nil {
		m.wrong("changelog record at partition %d offset %d has no key", r.Partition, r.Offset)
		return
	}
	v := liveValue{offset: r.Offset}
	if r.Value != nil {
		decoded, err := m.value.Decode(r.Value)
		v.text = decoded.TotalSum.String()
		if err != nil {
			v.text = fmt.Sprintf("undecodable %.60q", r.Value)
		}
	}
	id := liveKey(r.Partition, string(r.Key))
	if v.text == "" {
		delete(m.live, id)
		return
	}
	m.live[id] = v
}

func liveKey(partition int32, key string) string {
	return string([]byte{byte(partition >> 24), byte(partition >> 16), byte(partition >> 8), byte(partition)}) + key
}

// Verdict judges. It is called once, at the end.
func (m *Model) Verdict() Verdict {
	for p, l := range m.letters {
		if !l.matched {
			m.wrong("dead letter at partition %d offset %d (%s): its input at partition %d offset %d is no bad input",
				l.partition, l.offset, l.reason, p.partition, p.offset)
		}
	}
	for key, first := range m.tracks {
		for t := first; t != nil; t = t.more {
			m.judge(key, t)
			m.judgeState(key, t)
		}
	}
	for id, v := range m.live {
		m.wrong("changelog holds key %.60q (partition %d offset %d, sum %s), which has no open session",
			id[4:], partitionOf(id), v.offset, v.text)
	}
	return m.verdict
}

func partitionOf(id string) int32 {
	return int32(id[0])<<24 | int32(id[1])<<16 | int32(id[2])<<8 | int32(id[3])
}

// judgeState compares a key's open session with the changelog's and takes that off the list.
func (m *Model) judgeState(key string, t *track) {
	if t.open != nil {
		m.verdict.OpenSessions++
	}
	id := liveKey(t.partition, key)
	v, there := m.live[id]
	delete(m.live, id)
	switch {
	case t.late: // between two states
	case t.open == nil && there:
		m.wrong("changelog holds key %.60q (partition %d offset %d, sum %s), whose session is closed", key, t.partition, v.offset, v.text)
	case t.open != nil && !there:
		m.wrong("changelog partition %d lacks key %.60q, whose session is open with sum %v", t.partition, key, t.open)
	case t.open != nil && t.open.String() != v.text:
		m.wrong("changelog value of key %.60q (partition %d offset %d): expected sum %v, got %s", key, t.partition, v.offset, t.open, v.text)
	}
}
