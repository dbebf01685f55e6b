package audit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/codec/decimal"
	"github.com/penstock/penstock/processor/session"
	"github.com/penstock/penstock/processor/session/audit"
)

// topics are what a window reads and writes.
type topics struct {
	input, output, dead, changelog []audit.Record
}

// window is a window written for the tests: decimal sums, one partition.
func window(t require.TestingT, lines []string) *topics {
	w := &topics{}
	open := map[string]decimal.Decimal{}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, " ")
		if value == "idle" {
			w.idle(t, open, key)
			continue
		}
		r := audit.Record{Offset: int64(len(w.input)), Key: []byte(key), Value: []byte(value)}
		w.input = append(w.input, r)
		tx, err := session.TransactionCSV().Decode(r.Value)
		var sum decimal.Decimal
		if err == nil {
			sum, err = open[key].Add(tx.WinAmount)
		}
		if err != nil || tx.SessionID != key {
			w.dead = append(w.dead, letter(r, int64(len(w.dead))))
			continue
		}
		state, err := session.SessionTrackingValueJSON().Append(nil, session.SessionTrackingValue{TotalSum: sum})
		require.NoError(t, err)
		open[key] = sum
		if tx.Deposit {
			delete(open, key)
			state = nil
		}
		w.changelog = append(w.changelog, audit.Record{Offset: int64(len(w.changelog)), Key: r.Key, Value: state})
		w.output = append(w.output, update(t, key, sum, tx.Deposit))
	}
	return w
}

func letter(r audit.Record, offset int64) audit.Record {
	return audit.Record{Offset: offset, Key: r.Key, Value: r.Value, Headers: []audit.Header{
		{Key: "penstock.error.reason", Value: []byte("csv")},
		{Key: "penstock.error.topic", Value: []byte("in")},
		{Key: "penstock.error.partition", Value: []byte("0")},
		{Key: "penstock.error.offset", Value: fmt.Append(nil, r.Offset)},
	}}
}

func update(t require.TestingT, key string, sum decimal.Decimal, closed bool) audit.Record {
	v, err := session.SessionUpdateJSON().Append(nil, session.SessionUpdate{SessionID: key, CurrentBalance: sum, DepositCurrentBalance: closed})
	require.NoError(t, err)
	r := audit.Record{Key: []byte(key), Value: v}
	if closed {
		r.Headers = []audit.Header{{Key: "penstock.close.reason", Value: []byte("deposit")}}
	}
	return r
}

func (w *topics) audit(cfg audit.Config, settled int) audit.Verdict {
	cfg.Input, cfg.Format = "in", session.TransactionCSV()
	m := audit.New(cfg)
	for _, r := range w.dead {
		m.DeadLetter(r)
	}
	if cfg.Idle {
		for _, r := range w.output {
			m.IdleClosings(r)
		}
	}
	for i, r := range w.input {
		m.Input(r, i < settled)
	}
	for i, r := range w.output {
		r.Offset = int64(i)
		m.Output(r)
	}
	for _, r := range w.changelog {
		m.Changelog(r)
	}
	return m.Verdict()
}

var day = []string{
	"a a,1.50", "b b,2", "a a,2.50", "a a,0.05,true", "c c,x", "b b,3", "a a,7", "b b,3", "b b,1,true", "c d,1", "c c,4",
}

func TestExactStreamIsExact(t *testing.T) {
	v := window(t, day).audit(audit.Config{}, len(day))
	require.Empty(t, v.Examples)
	require.True(t, v.Exact())
	require.Equal(t, audit.Verdict{Transactions: 9, Updates: 9, Deposits: 2, DeadLetters: 2, OpenSessions: 2}, v)
}

func TestEachFaultIsNamed(t *testing.T) {
	swap := func(w *topics, i, j int) { w.output[i], w.output[j] = w.output[j], w.output[i] }
	for _, c := range []struct {
		name  string
		cfg   audit.Config
		spoil func(w *topics)
		want  [4]int64 // lost, duplicated, wrong, out of order
		word  string   // in an example
	}{
		{"lost update", audit.Config{}, func(w *topics) { w.output = w.output[1:] }, [4]int64{1, 0, 0, 0}, "input partition 0 offset 0"},
		{"lost last update", audit.Config{}, func(w *topics) { w.output = w.output[:8] }, [4]int64{1, 0, 0, 0}, "balance 4"},
		{"duplicated update", audit.Config{}, func(w *topics) { w.output = append(w.output, w.output[8]) }, [4]int64{0, 1, 0, 0}, `"c"`},
		{"replayed updates", audit.Config{}, func(w *topics) { w.output = append(w.output, w.output[4:]...) }, [4]int64{0, 5, 0, 0}, ""},
		{"another balance", audit.Config{}, func(w *topics) { w.output[0] = update(t, "a", decimal.MustParse("1.51"), false) }, [4]int64{0, 0, 1, 0}, "expected balance 1.50"},
		{"another scale", audit.Config{}, func(w *topics) { w.output[0] = update(t, "a", decimal.MustParse("1.5"), false) }, [4]int64{0, 0, 1, 0}, "got balance 1.5"},
		{"a value expected elsewhere", audit.Config{}, func(w *topics) { w.output[0] = update(t, "a", decimal.MustParse("4.00"), false) }, [4]int64{0, 0, 1, 0}, ""},
		{"closed, but open", audit.Config{}, func(w *topics) { w.output[0] = update(t, "a", decimal.MustParse("1.50"), true) }, [4]int64{0, 0, 1, 0}, "closing"},
		{"unknown key", audit.Config{}, func(w *topics) { w.output = append(w.output, update(t, "z", decimal.Decimal{}, false)) }, [4]int64{0, 0, 1, 0}, `"z"`},
		{"undecodable update", audit.Config{}, func(w *topics) { w.output[0].Value = []byte("{}") }, [4]int64{0, 0, 1, 0}, ""},
		{"id unlike key", audit.Config{}, func(w *topics) { w.output[0].Value = w.output[1].Value }, [4]int64{0, 0, 1, 0}, ""},
		{"no close reason", audit.Config{}, func(w *topics) { w.output[3].Headers = nil }, [4]int64{0, 0, 1, 0}, "penstock.close.reason"},
		{"close reason of an open one", audit.Config{}, func(w *topics) { w.output[0].Headers = w.output[3].Headers }, [4]int64{0, 0, 1, 0}, "closes nothing"},
		{"swapped updates of a key", audit.Config{}, func(w *topics) { swap(w, 0, 2) }, [4]int64{0, 0, 0, 1}, ""},
		{"swapped updates of two keys", audit.Config{}, func(w *topics) { swap(w, 0, 1) }, [4]int64{}, ""},

		{"lost dead letter", audit.Config{}, func(w *topics) { w.dead = w.dead[1:] }, [4]int64{1, 0, 0, 0}, "offset 4"},
		{"duplicated dead letter", audit.Config{}, func(w *topics) { w.dead = append(w.dead, w.dead[0]) }, [4]int64{0, 1, 0, 0}, "again"},
		{"another value in a dead letter", audit.Config{}, func(w *topics) { w.dead[0].Value = []byte("c,y") }, [4]int64{0, 0, 1, 0}, "byte for byte"},
		{"no key in a dead letter", audit.Config{}, func(w *topics) { w.dead[0].Key = nil }, [4]int64{0, 0, 1, 0}, "byte for byte"},
		{"a dead letter without a cause", audit.Config{}, func(w *topics) { w.dead = append(w.dead, letter(w.input[0], 9)) }, [4]int64{0, 0, 1, 0}, "no bad input"},
		{"a dead letter from nowhere", audit.Config{}, func(w *topics) { w.dead = append(w.dead, audit.Record{}) }, [4]int64{0, 0, 1, 0}, "where it comes from"},
		{"a good record rejected", audit.Config{}, func(w *topics) {
			w.dead, w.output = append(w.dead, letter(w.input[10], 9)), w.output[:8]
		}, [4]int64{1, 0, 1, 0}, ""},
		{"another topic's dead letter", audit.Config{}, func(w *topics) {
			other := letter(w.input[0], 9)
			other.Headers[1].Value = []byte("elsewhere")
			w.dead = append(w.dead, other)
		}, [4]int64{}, ""},
		{"no dead letters where bad input is skipped", audit.Config{SkipBad: true}, func(w *topics) { w.dead = nil }, [4]int64{}, ""},

		{"changelog lacks an open session", audit.Config{}, func(w *topics) { w.changelog = w.changelog[:8] }, [4]int64{0, 0, 1, 0}, "lacks"},
		{"changelog holds a closed session", audit.Config{}, func(w *topics) { w.changelog = append(w.changelog, w.changelog[1]) }, [4]int64{0, 0, 1, 0}, "closed"},
		{"changelog holds an unknown session", audit.Config{}, func(w *topics) {
			w.changelog = append(w.changelog, audit.Record{Key: []byte("z"), Value: w.changelog[0].Value})
		}, [4]int64{0, 0, 1, 0}, "no open session"},
		{"changelog holds another sum", audit.Config{}, func(w *topics) { w.changelog[8].Value = w.changelog[0].Value }, [4]int64{0, 0, 1, 0}, "expected sum 4, got 1.50"},
		{"changelog on another partition", audit.Config{}, func(w *topics) { w.changelog[8].Partition = 1 }, [4]int64{0, 0, 2, 0}, ""},

		{"closing: all updates", audit.Config{Updates: session.UpdatesClosing}, func(*topics) {}, [4]int64{0, 0, 7, 0}, ""},
		{"closing: closings", audit.Config{Updates: session.UpdatesClosing}, func(w *topics) { w.output = []audit.Record{w.output[3], w.output[7]} }, [4]int64{}, ""},
		{"closing: one lost", audit.Config{Updates: session.UpdatesClosing}, func(w *topics) { w.output = w.output[3:4] }, [4]int64{1, 0, 0, 0}, ""},
		{"last: all updates", audit.Config{Updates: session.UpdatesLast}, func(*topics) {}, [4]int64{}, ""},
		{"last: fewer", audit.Config{Updates: session.UpdatesLast}, func(w *topics) {
			w.output = []audit.Record{w.output[2], w.output[3], w.output[5], w.output[7], w.output[8]}
		}, [4]int64{}, ""},
		{"last: a closing one lost", audit.Config{Updates: session.UpdatesLast}, func(w *topics) { w.output = append(w.output[:3], w.output[4:]...) }, [4]int64{1, 0, 0, 0}, ""},
		{"last: the last one lost", audit.Config{Updates: session.UpdatesLast}, func(w *topics) { w.output = w.output[:8] }, [4]int64{1, 0, 0, 0}, ""},
		{"last: one twice", audit.Config{Updates: session.UpdatesLast}, func(w *topics) { w.output = append(w.output[:1:1], w.output...) }, [4]int64{0, 1, 0, 0}, ""},
		{"last: wrong balance", audit.Config{Updates: session.UpdatesLast}, func(w *topics) { w.output[0] = update(t, "a", decimal.MustParse("9"), false) }, [4]int64{0, 0, 1, 0}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := window(t, day)
			c.spoil(w)
			v := w.audit(c.cfg, len(day))
			require.Equal(t, c.want, [4]int64{v.Lost, v.Duplicated, v.Wrong, v.OutOfOrder}, "examples: %q", v.Examples)
			require.Equal(t, c.want == [4]int64{}, v.Exact())
			require.Equal(t, v.Exact(), len(v.Examples) == 0)
			require.Contains(t, strings.Join(v.Examples, "\n"), c.word)
		})
	}
}

// What came after the audit began may be processed or not.
func TestUnsettledRecordsMayBeProcessedOrNot(t *testing.T) {
	const settled = 4
	whole := window(t, day)
	for outputs := 4; outputs <= len(whole.output); outputs++ {
		w := *whole
		w.output = whole.output[:outputs]
		w.changelog = whole.changelog[:outputs]
		v := w.audit(audit.Config{}, settled)
		require.Zero(t, v.Lost+v.Duplicated+v.OutOfOrder, "%d updates: %q", outputs, v.Examples)
	}
}

func TestRangeIsTheDecimals(t *testing.T) {
	nines := "9999999999999999999"
	lines := []string{
		"a a," + nines, "a a,1", "a a,0.1", "a a,-" + nines, "a a,0.0000000000000000001", "a a,1", "a a,-0.0000000000000000001",
		"b b,99999999999999999.99", "b b,0.01", "b b,0.05", "c c,0.50", "c c,-0.50", "c c,-0.05", "c c,1e3", "c c,-1E-2,true",
	}
	w := window(t, lines)
	v := w.audit(audit.Config{}, len(lines))
	require.Empty(t, v.Examples)
	require.EqualValues(t, len(w.dead), v.DeadLetters)
	require.NotZero(t, v.DeadLetters)
}

func TestKeyOnTwoPartitionsIsTwoSessions(t *testing.T) {
	w := window(t, []string{"a a,1", "a a,2"})
	w.input[1].Partition = 1
	w.output[1] = update(t, "a", decimal.MustParse("2"), false)
	w.changelog[1] = audit.Record{Partition: 1, Key: []byte("a"), Value: []byte(`{"totalSum":2}`)}
	w.changelog[0].Value = []byte(`{"totalSum":1}`)
	v := w.audit(audit.Config{}, 2)
	require.Empty(t, v.Examples)
	require.EqualValues(t, 2, v.OpenSessions)
}

// Any exact stream is exact, and one fault is found and named by its kind.
func TestOneFaultIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 60).Draw(t, "n")
		var lines []string
		for range n {
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
			cents := rapid.IntRange(-500, 500).Draw(t, "cents")
			sign := ""
			if cents < 0 {
				sign, cents = "-", -cents
			}
			lines = append(lines, fmt.Sprintf("%s %s,%s%d.%02d,%t", key, key, sign, cents/100, cents%100, rapid.IntRange(0, 5).Draw(t, "deposit") == 0))
		}
		w := window(t, lines)
		if v := w.audit(audit.Config{}, n); !v.Exact() {
			t.Fatalf("exact stream: %+v", v)
		}
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		switch kind := rapid.SampledFrom([]string{"lost", "duplicated", "wrong", "order"}).Draw(t, "kind"); kind {
		case "lost":
			w.output = append(w.output[:i:i], w.output[i+1:]...)
			expectOnly(t, w.audit(audit.Config{}, n), [4]int64{1})
		case "duplicated":
			w.output = append(w.output[:i:i], append([]audit.Record{w.output[i]}, w.output[i:]...)...)
			expectOnly(t, w.audit(audit.Config{}, n), [4]int64{0, 1})
		case "wrong":
			w.output[i] = update(t, string(w.output[i].Key), decimal.MustParse("1234567.89"), false)
			expectOnly(t, w.audit(audit.Config{}, n), [4]int64{0, 0, 1})
		case "order":
			for j := i + 1; j < n; j++ {
				if string(w.output[j].Key) != string(w.output[i].Key) {
					continue
				}
				same := string(w.output[j].Value) == string(w.output[i].Value)
				w.output[i], w.output[j] = w.output[j], w.output[i]
				if !same {
					expectOnly(t, w.audit(audit.Config{}, n), [4]int64{0, 0, 0, 1})
				}
				break
			}
		}
	})
}

func expectOnly(t *rapid.T, v audit.Verdict, want [4]int64) {
	if got := [4]int64{v.Lost, v.Duplicated, v.Wrong, v.OutOfOrder}; got != want {
		t.Fatalf("lost, duplicated, wrong, out of order: expected %v, got %v: %q", want, got, v.Examples)
	}
}

// A long session with a fault at its start is judged in about the time of one without.
func TestLongSessionWithEarlyFault(t *testing.T) {
	lines := make([]string, 200_000)
	for i := range lines {
		lines[i] = "a a,0.00"
		if i%3 == 0 {
			lines[i] = "a a,0.01"
		}
	}
	w := window(t, lines)
	w.output = w.output[1:]
	v := w.audit(audit.Config{}, len(lines))
	require.Equal(t, [4]int64{1, 0, 0, 0}, [4]int64{v.Lost, v.Duplicated, v.Wrong, v.OutOfOrder})
}

func BenchmarkModel(b *testing.B) {
	lines := make([]string, 100_000)
	for i := range lines {
		lines[i] = fmt.Sprintf("s%d s%d,%d.%02d,%t", i%5000, i%5000, i%90, i%100, i%50 == 49)
	}
	w := window(b, lines)
	b.ReportAllocs()
	for b.Loop() {
		if v := w.audit(audit.Config{}, len(lines)); !v.Exact() {
			b.Fatal(v)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(lines)), "ns/transaction")
}
