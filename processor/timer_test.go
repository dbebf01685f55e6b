package processor_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// alarms is an application whose input says what to do with the timer of its key: "set 5" in five seconds of the clock,
// "cancel", or nothing; "... bad" is rejected afterwards. The timer tells that it fired, and does as the state says.
func alarms(clock processor.Clock) *processor.App {
	app := processor.New("app")
	what := processor.NewState(app, "what", codec.Text())
	fired := processor.NewOutput(app, "fired", codec.Text())
	now := func(c *processor.Context) time.Time {
		if clock == processor.EventTime {
			return c.Timestamp()
		}
		return c.Now()
	}
	var alarm processor.Timer
	alarm = processor.NewTimer(app, "alarm", clock, func(c *processor.Context) error {
		fired.Emit(c, "fired")
		then, _ := what.Get(c)
		what.Set(c, then+"!")
		switch strings.TrimRight(then, "!") {
		case "fail":
			return errors.New("no")
		case "reject":
			return processor.Reject("because", errors.New("no"))
		case "panic":
			panic("no")
		case "again":
			alarm.Set(c, c.Timestamp().Add(2*time.Second))
		case "past":
			alarm.Set(c, time.Time{})
		}
		return nil
	})
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		for _, word := range strings.Split(v, ",") {
			name, arg, _ := strings.Cut(word, " ")
			seconds, _ := strconv.Atoi(arg)
			switch name {
			case "set":
				alarm.Set(c, now(c).Add(time.Duration(seconds)*time.Second))
			case "cancel":
				alarm.Cancel(c)
			case "what":
				what.Set(c, arg)
			case "bad":
				return errors.New("bad")
			}
		}
		return nil
	})
	return app
}

// told lists what fired: the key and, in seconds since the driver began, the deadline.
func told(d *processortest.Driver) []string {
	var list []string
	for _, r := range d.Output("fired") {
		list = append(list, fmt.Sprintf("%s@%d", r.Key, int(r.Timestamp.Sub(begin)/time.Second)))
	}
	return list
}

var begin = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func TestTimersFireInOrderOfDeadlineAndThenKey(t *testing.T) {
	d := processortest.New(t, alarms(processor.WallClock))
	for _, s := range []string{"c 5", "b 9", "a 9", "d 1", "z 100", "e 5"} {
		key, at, _ := strings.Cut(s, " ")
		d.Send("in", key, "set "+at)
	}
	d.Send("in", "c", "set 7")
	d.Send("in", "e", "cancel")
	require.Len(t, d.Timers("alarm"), 5)
	d.Advance(10 * time.Second)
	d.Commit()
	require.Equal(t, []string{"d@1", "c@7", "a@9", "b@9"}, told(d))
	require.Equal(t, map[string]time.Time{"z": begin.Add(100 * time.Second)}, d.Timers("alarm"))
}

// What the changelog holds is a contract.
func TestATimersChangelog(t *testing.T) {
	d := processortest.New(t, alarms(processor.WallClock))
	d.Send("in", "k", "set 1")
	d.Send("in", "gone", "set 1,cancel")
	d.Commit()
	d.Advance(time.Second)
	d.Commit()
	log := d.Changelog("alarm")
	require.Len(t, log, 2)
	require.Equal(t, "app-alarm-timers", log[0].Topic)
	require.Equal(t, "k", string(log[0].Key))
	require.Equal(t, []byte{0, 0, 1, 0x8c, 0xc2, 0x51, 0xf7, 0xe8}, log[0].Value) // 2024-01-01 00:00:01
	require.Nil(t, log[1].Value)
}

func TestADeadlineIsRoundedUp(t *testing.T) {
	app := processor.New("app")
	alarm := processor.NewTimer(app, "alarm", processor.WallClock, func(*processor.Context) error { return nil })
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, _ string) error {
		alarm.Set(c, c.Now().Add(time.Nanosecond))
		return nil
	})
	d := processortest.New(t, app)
	d.Send("in", "k", "")
	require.Equal(t, map[string]time.Time{"k": begin.Add(time.Millisecond)}, d.Timers("alarm"))
}

func TestATimersContext(t *testing.T) {
	app := processor.New("app")
	var seen string
	alarm := processor.NewTimer(app, "alarm", processor.WallClock, func(c *processor.Context) error {
		r := c.Record()
		seen = fmt.Sprintf("%s now %d deadline %d %q %d %q", c.Key(), c.Now().Unix()-begin.Unix(), c.Timestamp().Unix()-begin.Unix(), r.Topic, r.Offset, r.Key)
		return nil
	})
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, _ string) error {
		alarm.Set(c, c.Now().Add(-5*time.Second))
		return nil
	})
	d := processortest.New(t, app)
	d.Send("in", "k", "")
	d.Advance(0)
	require.Equal(t, `k now 0 deadline -5 "" -1 "k"`, seen)
}

func TestATimerThatFailsIsRemovedAndADeadLetter(t *testing.T) {
	for what, reason := range map[string]string{"fail": "handler", "reject": "because", "panic": "panic"} {
		for _, fault := range []func(*processortest.Driver){(*processortest.Driver).Commit, (*processortest.Driver).Abort, (*processortest.Driver).CrashAndWipe} {
			t.Run(what, func(t *testing.T) {
				d := processortest.New(t, alarms(processor.WallClock))
				d.Send("in", "k", "set 1,what "+what)
				d.Send("in", "other", "set 2")
				d.Commit()
				d.Advance(3 * time.Second)
				fault(d)
				d.Commit()
				d.CrashAndWipe()
				d.Commit()
				require.Equal(t, []string{"other@2"}, told(d))
				require.Empty(t, d.Timers("alarm"))
				require.Equal(t, what, d.State("what")["k"], "its effects are undone")
				require.Len(t, d.DeadLetters(), 1)
				l := d.DeadLetters()[0]
				require.Equal(t, "k", string(l.Key))
				require.Nil(t, l.Value)
				require.Equal(t, reason, l.Headers[processortest.HeaderReason])
				require.Equal(t, "alarm", l.Headers[processortest.HeaderTimer])
				require.Equal(t, "app-alarm-timers", l.Headers["penstock.error.topic"])
				require.Equal(t, "1704067201000", l.Headers["penstock.error.timestamp"])
			})
		}
	}
}

func TestATimerMaySetItselfAgain(t *testing.T) {
	d := processortest.New(t, alarms(processor.WallClock))
	d.Send("in", "k", "set 1,what again")
	d.Send("in", "past", "set 1,what past")
	d.Advance(3*time.Second + 5*time.Millisecond)
	d.Send("in", "past", "cancel")
	d.Commit()
	all := told(d)
	require.Equal(t, []string{"k@1", "k@3"}, slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s[0] == 'p' }))
	require.Equal(t, map[string]time.Time{"k": begin.Add(5 * time.Second)}, d.Timers("alarm"))
	require.Len(t, all, 2+2006, "one that sets itself to the past fires once a millisecond")
}

func TestEventTimeIsThePartitionsGreatestTimestamp(t *testing.T) {
	d := processortest.New(t, alarms(processor.EventTime))
	at := func(seconds int, key, value string) {
		d.SendRecord(processortest.Record{Topic: "in", Key: []byte(key), Value: []byte(value), Timestamp: begin.Add(time.Duration(seconds) * time.Second)})
	}
	at(10, "a", "set 5")
	at(12, "b", "set 1")
	d.Advance(time.Hour)
	require.Len(t, d.Timers("alarm"), 2, "the wall clock fires none")
	at(14, "c", "set 100")
	at(3, "late", "set 1")
	at(13, "a", "what x")
	d.Commit()
	require.Equal(t, []string{"b@13", "late@4"}, told(d))
	d.CrashAndWipe()
	at(1, "late", "set 5") // due at once: stream time is 14, over crashes too
	at(15, "a", "cancel")  // too late: the timer goes before the record
	d.Commit()
	require.Equal(t, []string{"b@13", "late@4", "late@6", "a@15"}, told(d))
	require.Equal(t, map[string]time.Time{"c": begin.Add(114 * time.Second)}, d.Timers("alarm"))
}

func TestOneRecordMayMakeManyTimersDue(t *testing.T) {
	const n = 20_000
	d := processortest.New(t, alarms(processor.EventTime))
	var want []string
	for i := range n {
		d.Send("in", fmt.Sprintf("k%05d", i), "set 5")
		want = append(want, fmt.Sprintf("k%05d@5", i))
	}
	d.Commit()
	d.SendRecord(processortest.Record{Topic: "in", Key: []byte("x"), Value: []byte("set 1"), Timestamp: begin.Add(5 * time.Second)})
	d.Commit()
	require.Equal(t, want, told(d))
	require.Len(t, d.Timers("alarm"), 1)
}

// model is what timers are: a map of deadlines, a clock, and what fired.
type model struct {
	set    map[string]int // key to deadline, in seconds
	stream int
	told   []string
}

func (m *model) clone() model {
	return model{maps.Clone(m.set), m.stream, slices.Clone(m.told)}
}

// fire fires all that is due by now.
func (m *model) fire(now int) {
	for {
		first := ""
		for k, at := range m.set {
			if at <= now && (first == "" || at < m.set[first] || at == m.set[first] && k < first) {
				first = k
			}
		}
		if first == "" {
			return
		}
		m.told = append(m.told, fmt.Sprintf("%s@%d", first, m.set[first]))
		delete(m.set, first)
	}
}

type sentRecord struct {
	key, value string
	at         int
}

// R1, R3, R12: whatever the order of sets, cancels, rejected records, time, commits, aborts, flushes, crashes and evictions,
// timers are those of a map.
func TestAnyHistoryOfTimersEqualsTheModel(t *testing.T) {
	for name, clock := range map[string]processor.Clock{"wall clock": processor.WallClock, "event time": processor.EventTime} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) { anyHistory(t, rt, clock) })
		})
	}
}

func anyHistory(t *testing.T, rt *rapid.T, clock processor.Clock) {
	d := processortest.New(t, alarms(clock))
	if rapid.Bool().Draw(rt, "small cache") {
		d.LimitCache(1)
	}
	committed := model{set: map[string]int{}, stream: -1}
	open := committed.clone()
	now := 0
	var pending []sentRecord
	step := func(r sentRecord) {
		before := maps.Clone(open.set)
		base := now
		if clock == processor.EventTime {
			open.stream = max(open.stream, r.at)
			open.fire(open.stream)
			before = maps.Clone(open.set)
			base = r.at
		}
		for _, word := range strings.Split(r.value, ",") {
			name, arg, _ := strings.Cut(word, " ")
			n, _ := strconv.Atoi(arg)
			switch name {
			case "set":
				open.set[r.key] = base + n
			case "cancel":
				delete(open.set, r.key)
			case "bad":
				open.set = before
			}
		}
		if clock == processor.EventTime {
			open.fire(open.stream)
		}
	}
	again := func() { // what was not committed is handled again, before timers
		open = committed.clone()
		for _, r := range pending {
			step(r)
		}
		if clock == processor.WallClock {
			open.fire(now)
		}
	}
	for range rapid.IntRange(1, 60).Draw(rt, "steps") {
		switch op := rapid.IntRange(0, 13).Draw(rt, "op"); op {
		default:
			r := sentRecord{key: string(rune('a' + rapid.IntRange(0, 5).Draw(rt, "key")))}
			r.value = rapid.SampledFrom([]string{"set 0", "set 1", "set 3", "set 3,cancel", "set 10", "set 30", "cancel", "cancel,set 2", "cancel,bad", "set 1,bad", "set 40,bad", "-"}).Draw(rt, "value")
			r.at = rapid.IntRange(0, 60).Draw(rt, "timestamp")
			d.SendRecord(processortest.Record{Topic: "in", Key: []byte(r.key), Value: []byte(r.value), Timestamp: begin.Add(time.Duration(r.at) * time.Second)})
			pending = append(pending, r)
			step(r)
		case 6, 7:
			s := rapid.IntRange(0, 20).Draw(rt, "seconds")
			d.Advance(time.Duration(s) * time.Second)
			now += s
			if clock == processor.WallClock {
				open.fire(now)
			}
		case 8, 9:
			d.Commit()
			committed, pending = open.clone(), nil
		case 10:
			d.Abort()
			again()
		case 11:
			d.Flush()
		case 12:
			d.Crash()
			again()
		case 13:
			d.CrashAndWipe()
			again()
		}
		got := map[string]int{}
		for k, at := range d.Timers("alarm") {
			got[k] = int(at.Sub(begin) / time.Second)
		}
		require.Equal(rt, open.set, got)
	}
	d.Commit()
	require.Equal(rt, append([]string{}, open.told...), append([]string{}, told(d)...))
	state := d.State("alarm")
	delete(state, "") // stream time
	require.Len(rt, state, len(open.set))
	for k, v := range state {
		require.Equal(rt, v, d.Read("alarm")[k], "what a handler would read")
	}
}
