package session_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/processortest"
	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
)

const in, out = "transactions", "session-updates"

func window(t *testing.T, change func(*session.Config)) *processortest.Driver {
	t.Helper()
	cfg := session.Config{ID: "app", Input: in, Output: out}
	if change != nil {
		change(&cfg)
	}
	return processortest.New(t, session.Window(cfg))
}

func sent(d *processortest.Driver) []string {
	var list []string
	for _, r := range d.Output(out) {
		list = append(list, string(r.Value))
	}
	return list
}

func reasons(d *processortest.Driver) []string {
	var list []string
	for _, r := range d.DeadLetters() {
		list = append(list, r.Headers[processortest.HeaderReason])
	}
	return list
}

func TestADepositClosesTheSession(t *testing.T) {
	d := window(t, nil)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":100,"deposit":false}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":0.50}`)
	d.Commit()
	require.Equal(t, map[string]string{"s1": `{"totalSum":100.50}`}, d.State("total"))
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":5,"deposit":true}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":7}`)
	d.Commit()
	require.Equal(t, []string{
		`{"sessionId":"s1","currentBalance":100,"depositCurrentBalance":false}`,
		`{"sessionId":"s1","currentBalance":100.50,"depositCurrentBalance":false}`,
		`{"sessionId":"s1","currentBalance":105.50,"depositCurrentBalance":true}`,
		`{"sessionId":"s1","currentBalance":7,"depositCurrentBalance":false}`,
	}, sent(d))
	require.Equal(t, map[string]string{session.CloseReason: "deposit"}, d.Output(out)[2].Headers)
	require.Equal(t, map[string]string{"s1": `{"totalSum":7}`}, d.State("total"))
	require.Len(t, d.Changelog("total"), 2, "one changelog record for each key and transaction")
}

func TestADepositLeavesATombstone(t *testing.T) {
	d := window(t, nil)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1}`)
	d.Commit()
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1,"deposit":true}`)
	d.Commit()
	log := d.Changelog("total")
	require.Len(t, log, 2)
	require.Nil(t, log[1].Value)
}

func TestASessionThatOpensAndClosesInOneTransactionWritesNoChangelog(t *testing.T) {
	d := window(t, nil)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1,"deposit":true}`)
	d.Commit()
	require.Empty(t, d.Changelog("total"))
	require.Len(t, sent(d), 2)
}

func TestUpdatesLastSendsTheLastOfEachCommitAndEveryClosing(t *testing.T) {
	d := window(t, func(c *session.Config) { c.Updates = session.UpdatesLast })
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1,"deposit":true}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":5}`)
	d.Send(in, "s2", `{"sessionId":"s2","winAmount":8}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":5}`)
	d.Commit()
	require.Equal(t, []string{
		`{"sessionId":"s1","currentBalance":3,"depositCurrentBalance":true}`,
		`{"sessionId":"s1","currentBalance":10,"depositCurrentBalance":false}`,
		`{"sessionId":"s2","currentBalance":8,"depositCurrentBalance":false}`,
	}, sent(d))
}

func TestUpdatesClosingSendsDepositsOnly(t *testing.T) {
	d := window(t, func(c *session.Config) { c.Updates = session.UpdatesClosing })
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":1}`)
	d.Send(in, "s1", `{"sessionId":"s1","winAmount":2,"deposit":true}`)
	d.Commit()
	require.Equal(t, []string{`{"sessionId":"s1","currentBalance":3,"depositCurrentBalance":true}`}, sent(d))
}

// F35: amounts are exact in and out, and one that leaves the range changes nothing.
func TestAmountsAreExact(t *testing.T) {
	d := window(t, nil)
	for _, a := range []string{"1e3", "1E-2", "0.1", "0.2", "-0", "12345678901234567890.123456789"} {
		d.Send(in, "s", `{"sessionId":"s","winAmount":`+a+`}`)
	}
	d.Commit()
	var balances []string
	for _, u := range processortest.Values(d, out, session.SessionUpdateJSON()) {
		balances = append(balances, u.CurrentBalance.String())
	}
	require.Equal(t, []string{"1000", "1000.01", "1000.11", "1000.31", "1000.31"}, balances)
	require.Equal(t, []string{session.ReasonAmountRange}, reasons(d))
	require.Equal(t, map[string]string{"s": `{"totalSum":1000.31}`}, d.State("total"))
}

func TestASumBeyondTheRangeIsADeadLetterAndChangesNothing(t *testing.T) {
	d := window(t, nil)
	d.Send(in, "s", `{"sessionId":"s","winAmount":9999999999999999999}`)
	d.Send(in, "s", `{"sessionId":"s","winAmount":1}`)
	d.Commit()
	require.Equal(t, []string{session.ReasonAmountRange}, reasons(d))
	require.Equal(t, map[string]string{"s": `{"totalSum":9999999999999999999}`}, d.State("total"))
}

// F37, F40, F44, F45, F47.
func TestBadInputIsADeadLetterByteForByte(t *testing.T) {
	for _, c := range []struct{ name, key, value, reason string }{
		{"NaN", "s", `{"sessionId":"s","winAmount":NaN}`, codec.ReasonJSON},
		{"infinity", "s", `{"sessionId":"s","winAmount":Infinity}`, codec.ReasonJSON},
		{"amount as string", "s", `{"sessionId":"s","winAmount":"12.50"}`, codec.ReasonWrongType},
		{"deposit as string", "s", `{"sessionId":"s","winAmount":1,"deposit":"true"}`, codec.ReasonWrongType},
		{"deposit as number", "s", `{"sessionId":"s","winAmount":1,"deposit":1}`, codec.ReasonWrongType},
		{"another spelling", "caf\u00e9", "{\"sessionId\":\"cafe\u0301\",\"winAmount\":1}", session.ReasonKeyMismatch},
		{"framing", "s", "\x00\x00\x00\x00\x07" + `{"sessionId":"s","winAmount":1}`, codec.ReasonSchemaFraming},
		{"duplicate name", "s", `{"sessionId":"s","winAmount":1,"winAmount":2}`, codec.ReasonDuplicateName},
		{"trailing bytes", "s", `{"sessionId":"s","winAmount":1} x`, codec.ReasonJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := window(t, nil)
			d.Send(in, c.key, c.value)
			d.Send(in, "s", `{"sessionId":"s","winAmount":2}`)
			d.Commit()
			require.Equal(t, []string{c.reason}, reasons(d))
			letter := d.DeadLetters()[0]
			require.Equal(t, c.key, string(letter.Key))
			require.Equal(t, c.value, string(letter.Value))
			require.Equal(t, "0", letter.Headers["penstock.error.offset"])
			require.Equal(t, in, letter.Headers["penstock.error.topic"])
			require.Equal(t, map[string]string{"s": `{"totalSum":2}`}, d.State("total"))
		})
	}
}

// F45: null and empty keys, and null values, are dead letters as they are.
func TestNullsAreDeadLetters(t *testing.T) {
	d := window(t, nil)
	d.Send(in, "s", `{"sessionId":"s","winAmount":1}`)
	d.SendRecord(processortest.Record{Topic: in, Value: []byte(`{"sessionId":"s","winAmount":1}`)})
	d.SendRecord(processortest.Record{Topic: in, Key: []byte{}, Value: []byte(`{"sessionId":"","winAmount":1}`)})
	d.SendRecord(processortest.Record{Topic: in, Key: []byte("s")})
	d.Commit()
	require.Equal(t, []string{"no-key", "empty-key", "tombstone"}, reasons(d))
	letters := d.DeadLetters()
	require.Nil(t, letters[0].Key)
	require.NotNil(t, letters[1].Key)
	require.Nil(t, letters[2].Value)
	require.Equal(t, map[string]string{"s": `{"totalSum":1}`}, d.State("total"))
}

// R1, R3: whatever ends a transaction but a commit leaves no trace.
func TestAbortsAndCrashesLeaveNoTrace(t *testing.T) {
	for name, fault := range map[string]func(*processortest.Driver){
		"abort":                (*processortest.Driver).Abort,
		"crash":                (*processortest.Driver).Crash,
		"crash and lost store": (*processortest.Driver).CrashAndWipe,
		"flush, then crash":    func(d *processortest.Driver) { d.Flush(); d.Crash() },
		"flush, then abort":    func(d *processortest.Driver) { d.Flush(); d.Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			d := window(t, nil)
			d.Send(in, "s1", `{"sessionId":"s1","winAmount":1}`)
			d.Send(in, "s2", `{"sessionId":"s2","winAmount":1}`)
			d.Commit()
			d.Send(in, "s1", `{"sessionId":"s1","winAmount":2,"deposit":true}`)
			d.Send(in, "s2", `{"sessionId":"s2","winAmount":2}`)
			fault(d)
			require.Len(t, sent(d), 2)
			d.Commit()
			d.Send(in, "s1", `{"sessionId":"s1","winAmount":4}`)
			fault(d)
			d.Commit()
			require.Equal(t, []string{
				`{"sessionId":"s1","currentBalance":1,"depositCurrentBalance":false}`,
				`{"sessionId":"s2","currentBalance":1,"depositCurrentBalance":false}`,
				`{"sessionId":"s1","currentBalance":3,"depositCurrentBalance":true}`,
				`{"sessionId":"s2","currentBalance":3,"depositCurrentBalance":false}`,
				`{"sessionId":"s1","currentBalance":4,"depositCurrentBalance":false}`,
			}, sent(d))
		})
	}
}

func TestCSVIsAnInputFormat(t *testing.T) {
	d := window(t, func(c *session.Config) { c.Format = session.TransactionCSV() })
	d.Send(in, "s1", "s1,10")
	d.Send(in, "a,b", "\"a,b\",10.5, TRUE \r\n")
	d.Send(in, "s1", "s1,0x10")
	d.Commit()
	require.Equal(t, []string{
		`{"sessionId":"s1","currentBalance":10,"depositCurrentBalance":false}`,
		`{"sessionId":"a,b","currentBalance":10.5,"depositCurrentBalance":true}`,
	}, sent(d))
	require.Len(t, reasons(d), 1)
}

func TestASilentSessionIsClosedByItsIdleTimeout(t *testing.T) {
	for _, updates := range []session.Updates{session.UpdatesEvery, session.UpdatesLast, session.UpdatesClosing} {
		t.Run(updates.String(), func(t *testing.T) {
			d := window(t, func(c *session.Config) { c.Updates, c.Idle = updates, time.Minute })
			d.Send(in, "s1", `{"sessionId":"s1","winAmount":1}`)
			d.Send(in, "s2", `{"sessionId":"s2","winAmount":5}`)
			d.Commit()
			d.Advance(59 * time.Second)
			d.Send(in, "s1", `{"sessionId":"s1","winAmount":2.50}`)
			d.Advance(time.Second) // s2's
			d.Send(in, "s2", `{"sessionId":"s2","winAmount":0}`)
			d.Commit()
			d.Advance(59 * time.Second) // s1's
			d.Send(in, "s2", `{"sessionId":"s2","winAmount":7,"deposit":true}`)
			d.Commit()
			d.Advance(time.Hour)
			d.Commit()
			var closing []string
			for _, r := range d.Output(out) {
				if reason := r.Headers[session.CloseReason]; reason != "" {
					closing = append(closing, reason+" "+string(r.Value))
				}
			}
			require.Equal(t, []string{
				`idle-timeout {"sessionId":"s2","currentBalance":5,"depositCurrentBalance":true}`,
				`idle-timeout {"sessionId":"s1","currentBalance":3.50,"depositCurrentBalance":true}`,
				`deposit {"sessionId":"s2","currentBalance":7,"depositCurrentBalance":true}`,
			}, closing)
			require.Empty(t, d.State("total"))
			require.Empty(t, d.State("idle"))
			require.Empty(t, d.Timers("idle"))
		})
	}
}

func TestWithoutAnIdleTimeoutThereIsNoTimer(t *testing.T) {
	topo, err := session.Window(session.Config{ID: "app", Input: in, Output: out}).Topology()
	require.NoError(t, err)
	require.Equal(t, []string{"total"}, topo.States)
	require.Empty(t, topo.Timers)
}
