// Command newuser counts words. It is a module of its own, written from Penstock's README alone.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
)

// Count is what is known of a word.
type Count struct {
	Word  string `json:"word"`
	Seen  int    `json:"seen"`
	Final bool   `json:"final,omitempty"` // nobody used the word for an hour
}

// wordCount counts each word, the key of its record, until nobody has used it for an hour.
func wordCount() *processor.App {
	app := processor.New("word-count")
	seen := processor.NewState(app, "seen", codec.Int64())
	counts := processor.NewOutput(app, "word-counts", codec.JSON[Count]())

	forget := processor.NewTimer(app, "forget", processor.WallClock, func(c *processor.Context) error {
		n, _ := seen.Get(c)
		seen.Remove(c)
		counts.Emit(c, Count{Word: c.Key(), Seen: int(n), Final: true})
		return nil
	})
	processor.Handle(app, "words", codec.Text(), func(c *processor.Context, _ string) error {
		if strings.ContainsAny(c.Key(), " \t\n") {
			return processor.Reject("not-a-word", nil)
		}
		n, _ := seen.Get(c)
		seen.Set(c, n+1)
		counts.Emit(c, Count{Word: c.Key(), Seen: int(n + 1)})
		forget.Set(c, c.Now().Add(time.Hour))
		return nil
	})
	return app
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := engine.Run(ctx, wordCount(), engine.Config{Brokers: strings.Split(os.Getenv("BROKERS"), ","), CreateTopics: true})
	if err != nil {
		log.Fatal(err)
	}
}
