package engine_test

import (
	"testing"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/stretchr/testify/require"
)

// An application need not have a state: a filter has none, and no changelog.
func TestAnApplicationWithoutStateCopiesOnce(t *testing.T) {
	filter := func() *processor.App {
		app := processor.New("app")
		out := processor.NewOutput(app, output, codec.Bytes())
		processor.Handle(app, input, codec.Bytes(), func(c *processor.Context, v []byte) error {
			out.Emit(c, v)
			return nil
		})
		return app
	}
	w := newWorld(t)
	dir := t.TempDir()
	for range 2 {
		w.send(1000)
		stop := w.runApp(filter(), w.config(dir))
		n := 0
		for _, list := range w.updates() {
			n += len(list)
		}
		require.Equal(t, w.sent, n)
		stop()
	}
}
