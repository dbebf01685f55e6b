package task_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// R1: at any time, what a query sees in cache and store is the committed state, whatever a transaction has pending, a freeze
// holds, the store lacks, or the cache forgot.
func TestQueriesSeeTheCommittedState(t *testing.T) {
	app := processor.New("app")
	state := processor.NewState(app, "state", codec.Text())
	processor.Handle(app, "in", codec.Text(), func(c *processor.Context, v string) error {
		if v == "" {
			state.Remove(c)
		} else {
			state.Set(c, v)
		}
		return nil
	})
	topo, err := app.Topology()
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		store := statestore.NewMemory()
		tk := task.New(task.Config{Topology: topo, Store: store, Arena: &task.Arena{}, CacheBytes: 500}, // two or three entries
			task.Position{Inputs: []int64{0}, Changelogs: []int64{0}})
		committed, pending := map[string]string{}, map[string]string{}
		offset := int64(0)
		var flights []struct {
			batch *statestore.Batch
			seq   uint64
		}
		keys := strings.Split("a b c d e f g h i j k l m n o p q r s t u v w x y z", " ")
		keys = append(keys, strings.Repeat("long", 20))
		step := func(t *rapid.T, key string) {
			value := rapid.SampledFrom([]string{"", "1", "2", strings.Repeat("long", 10)}).Draw(t, "value")
			require.NoError(t, tk.Step(&topology.Record{Offset: offset, Key: []byte(key), Value: []byte(value)}, 1))
			offset++
			pending[key] = value
		}
		t.Repeat(map[string]func(*rapid.T){
			"step": func(t *rapid.T) { step(t, rapid.SampledFrom(keys).Draw(t, "key")) },
			"burst": func(t *rapid.T) { // what it takes is given back
				for _, key := range keys {
					step(t, key)
				}
			},
			"commit": func(*rapid.T) {
				tk.Prepare(nil)
				tk.ClearEffects()
				tk.Keep([]int64{-1}, 1)
				maps.Copy(committed, pending)
				clear(pending)
			},
			"abort": func(*rapid.T) {
				tk.Abort()
				offset = tk.Next(0)
				clear(pending)
			},
			"freeze": func(t *rapid.T) {
				b := new(statestore.Batch)
				flights = append(flights, struct {
					batch *statestore.Batch
					seq   uint64
				}{b, tk.Freeze(b, task.Identity{})})
			},
			"apply": func(t *rapid.T) {
				if len(flights) == 0 {
					return
				}
				require.NoError(t, store.Apply(flights[0].batch))
				tk.Applied(flights[0].seq)
				flights = flights[1:]
			},
			"": func(t *rapid.T) {
				replaced := map[string]string{}
				tk.Unapplied(0, func(key string, value []byte, exists bool) {
					if exists == (len(value) == 0) {
						t.Fatalf("%q exists=%v with value %q", key, exists, value)
					}
					replaced[key] = string(value)
				})
				for _, key := range keys {
					stored, _, err := store.Get(nil, append(task.StatePrefix(0, "state"), key...))
					require.NoError(t, err)
					got := string(stored)
					if v, ok := replaced[key]; ok {
						got = v
					}
					require.Equal(t, committed[key], got, "%s by Unapplied", key)
					value, exists, known := tk.Committed(0, []byte(key))
					if !known {
						value, exists = stored, len(stored) > 0
					}
					require.Equal(t, committed[key], string(value), "%s by Committed", key)
					require.Equal(t, committed[key] != "", exists)
				}
			},
		})
	})
}
