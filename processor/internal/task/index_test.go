package task

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The index answers like a map, whatever is put and removed in which order.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x index
		model := map[string]*entry{}
		key := rapid.Map(rapid.IntRange(0, 60), strconv.Itoa)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if model[k] == nil {
					model[k] = newEntry([]byte(k))
					x.put(model[k])
				}
			},
			"remove": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if e := model[k]; e != nil {
					x.remove(e)
					delete(model, k)
				}
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(model), x.used)
				for k, e := range model {
					require.Same(t, e, x.get([]byte(k)), "key %q", k)
				}
				k := key.Draw(t, "other")
				require.Same(t, model[k], x.get([]byte(k)), "key %q", k)
			},
		})
	})
}
