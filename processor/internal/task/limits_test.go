package task_test

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
)

// echo sets and emits what it is sent.
func echo(t *testing.T, limits task.Limits) *task.Task {
	t.Helper()
	app := processor.New("app")
	seen := processor.NewState(app, "seen", codec.Text())
	out := processor.NewOutput(app, "out", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		seen.Set(c, v)
		out.Emit(c, v)
		if v == "refuse" {
			return errors.New("refused")
		}
		return nil
	})
	topo, err := app.Topology()
	require.NoError(t, err)
	return task.New(task.Config{Topology: topo, Store: statestore.NewMemory(), Arena: &task.Arena{}, Limits: limits},
		task.Position{Inputs: []int64{0}, Changelogs: []int64{0}})
}

func header(e task.Effect, key string) string {
	for _, h := range e.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// R9, F30: what the changelog or the output would refuse is a dead letter, with no effect.
func TestARecordTooLargeForATopicIsADeadLetter(t *testing.T) {
	for name, limits := range map[string]task.Limits{
		"changelog": {Changelogs: []task.TopicLimit{{RecordBytes: 1000}}, Outputs: []task.TopicLimit{{}}},
		"output":    {Changelogs: []task.TopicLimit{{}}, Outputs: []task.TopicLimit{{RecordBytes: 1000}}},
	} {
		t.Run(name, func(t *testing.T) {
			tk := echo(t, limits)
			big := bytes.Repeat([]byte("x"), 1000)
			require.NoError(t, tk.Step(&topology.Record{Offset: 0, Key: []byte("k"), Value: big}, 1))
			require.NoError(t, tk.Step(&topology.Record{Offset: 1, Key: []byte("k"), Value: []byte("small")}, 1))
			tk.Prepare(nil)
			effects := tk.Effects()
			require.Len(t, effects, 3)
			require.Equal(t, task.DeadLetterKind, effects[0].Kind)
			require.Equal(t, processor.ReasonTooLarge, header(effects[0], task.HeaderReason))
			require.Equal(t, big, effects[0].Value)
			require.Equal(t, "small", string(effects[1].Value))
			require.Equal(t, "small", string(effects[2].Value))
		})
	}
}

// R9, F31: a dead letter that its topic would refuse is shortened, marked and hashed.
func TestADeadLetterTooLargeForItsTopicIsShortened(t *testing.T) {
	tk := echo(t, task.Limits{DeadLetter: task.TopicLimit{RecordBytes: 2000}})
	value := []byte("refuse" + strings.Repeat("\xff", 5000)) // not text
	require.NoError(t, tk.Step(&topology.Record{Key: []byte("k"), Value: value}, 1))
	letter := tk.Effects()[0]
	require.Equal(t, "key=1 value="+strconv.Itoa(len(value)), header(letter, task.HeaderTruncated))
	require.Len(t, header(letter, task.HeaderHash), 64)
	require.Less(t, len(letter.Value), 2000)
	require.NotEmpty(t, letter.Value)
}

// R9: a timestamp that the output's topic would refuse becomes the time of processing; the original is in a header.
func TestATimestampOutOfBoundsIsReplaced(t *testing.T) {
	const now, hour = 10 * 3600_000, 3600_000
	limits := task.Limits{Outputs: []task.TopicLimit{{TimeAfterMax: hour, TimeBeforeMax: 2 * hour}}, Changelogs: []task.TopicLimit{{}}}
	for ts, want := range map[int64]int64{now: now, now + hour: now + hour, now + hour + 1: now, now - 2*hour - 1: now, -1: now} {
		tk := echo(t, limits)
		require.NoError(t, tk.Step(&topology.Record{Key: []byte("k"), Value: []byte("v"), Timestamp: ts}, now))
		e := tk.Effects()[0]
		require.Equal(t, want, e.Timestamp)
		original := ""
		if ts >= 0 && ts != want {
			original = strconv.FormatInt(ts, 10)
		}
		require.Equal(t, original, header(e, task.HeaderTimestamp))
	}
}
