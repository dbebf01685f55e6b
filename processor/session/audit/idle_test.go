package audit_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/processor/session/audit"
)

// idle closes a session of the test's window for its idle timeout.
func (w *topics) idle(t require.TestingT, open map[string]decimal.Decimal, key string) {
	sum, ok := open[key]
	if !ok {
		return
	}
	delete(open, key)
	r := update(t, key, sum, true)
	r.Headers = []audit.Header{{Key: "penstock.close.reason", Value: []byte("idle-timeout")}}
	w.output = append(w.output, r)
	w.changelog = append(w.changelog, audit.Record{Offset: int64(len(w.changelog)), Key: r.Key})
}

var silentDay = []string{"a a,1", "b b,2", "a idle", "a a,5", "b b,3", "b idle", "a a,1,true", "a a,7", "a idle", "c c,x", "b b,1"}

func TestIdleClosingsAreTakenFromTheOutput(t *testing.T) {
	w := window(t, silentDay)
	v := w.audit(audit.Config{Idle: true}, len(w.input))
	require.Empty(t, v.Examples)
	require.Equal(t, audit.Verdict{Transactions: 7, Updates: 10, Deposits: 4, DeadLetters: 1, OpenSessions: 1}, v)
	require.False(t, w.audit(audit.Config{}, len(w.input)).Exact(), "without an idle timeout nothing may close for it")
}

func TestAFaultBesideIdleClosingsIsNamed(t *testing.T) {
	for name, spoil := range map[string]func(w *topics){
		"closed twice": func(w *topics) { w.output = slices.Insert(w.output, 3, w.output[2]) },
		"closing lost": func(w *topics) { w.output = slices.Delete(w.output, 2, 3) },
		"wrong balance": func(w *topics) {
			w.output[2].Value = []byte(`{"sessionId":"a","currentBalance":2,"depositCurrentBalance":true}`)
		},
		"not closed": func(w *topics) {
			w.output[2].Value = []byte(`{"sessionId":"a","currentBalance":1,"depositCurrentBalance":false}`)
		},
		"deposit called idle":  func(w *topics) { w.output[6].Headers = w.output[2].Headers },
		"idle called deposit":  func(w *topics) { w.output[2].Headers = w.output[6].Headers },
		"state is still there": func(w *topics) { w.changelog = slices.Delete(w.changelog, 8, 9) },
	} {
		t.Run(name, func(t *testing.T) {
			w := window(t, silentDay)
			spoil(w)
			require.False(t, w.audit(audit.Config{Idle: true}, len(w.input)).Exact())
		})
	}
}

func TestAnyStreamWithIdleClosingsIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var lines []string
		for range rapid.IntRange(0, 60).Draw(rt, "lines") {
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "id")
			what := rapid.SampledFrom([]string{"%s idle", "%[1]s %[1]s,3", "%[1]s %[1]s,1", "%[1]s %[1]s,2,true", "%[1]s x"}).Draw(rt, "what")
			lines = append(lines, fmt.Sprintf(what, id))
		}
		w := window(rt, lines)
		v := w.audit(audit.Config{Idle: true}, len(w.input))
		require.Empty(rt, v.Examples)
		if len(w.output) == 0 {
			return
		}
		gone := rapid.IntRange(0, len(w.output)-1).Draw(rt, "gone")
		w.output = slices.Delete(w.output, gone, gone+1)
		require.False(rt, w.audit(audit.Config{Idle: true}, len(w.input)).Exact(), "output %d is missing", gone)
	})
}
