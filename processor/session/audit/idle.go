package audit

import "github.com/penstock/penstock/processor/session"

// When an idle timeout closes a session is the wall clock's matter, which no model recomputes: it is taken from the output.
// The balance is the model's. That a closing of a zero balance is missing shows nowhere.

// idle is what the output says of one key's idle closings.
type idle struct {
	updates int   // of transactions so far
	at      []int // of each idle closing that is not expected yet: how many updates of transactions come before it
}

// IdleClosings notes where idle timeouts closed sessions. It is given each record of the output topic, before any input.
func (m *Model) IdleClosings(r Record) {
	k := m.idle[string(r.Key)]
	if k == nil {
		k = &idle{}
		m.idle[string(r.Key)] = k
	}
	if reason, _ := r.header(closeReason); reason == session.ClosedByIdle {
		k.at = append(k.at, k.updates)
		return
	}
	k.updates++
}

// closeIdle closes the key's open session if the output closes it after as many updates as are expected now.
func (m *Model) closeIdle(key string, t *track, offset int64) {
	k := m.idle[key]
	if k == nil || len(k.at) == 0 || t.open == nil || k.at[0] != len(t.expect)-t.idle {
		return
	}
	k.at = k.at[1:]
	t.idle++
	t.expect = append(t.expect, update{balance: t.open.String(), closed: true, offset: offset})
	t.open = nil
}
