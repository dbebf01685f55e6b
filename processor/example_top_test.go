package processor_test

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest"
)

// Score is a player's result in a game; the records are keyed by game.
type Score struct {
	Player string `json:"player"`
	Points int64  `json:"points"`
}

// podium keeps the three best players of each game by their best result, and tells when they change. What is below the
// third place can never come back, since a best result only rises: three scores are all the state there is.
func podium() *processor.App {
	const places = 3
	app := processor.New("podium")
	best := processor.NewState(app, "best", codec.JSON[[]Score]())
	changed := processor.NewOutput(app, "podiums", codec.JSON[[]Score]())

	processor.Handle(app, "scores", codec.JSON[Score](), func(c *processor.Context, score Score) error {
		before, _ := best.Get(c)
		after := slices.Clone(before)
		if i := slices.IndexFunc(after, func(s Score) bool { return s.Player == score.Player }); i < 0 {
			after = append(after, score)
		} else if after[i].Points < score.Points {
			after[i] = score
		}
		slices.SortStableFunc(after, func(a, b Score) int { return cmp.Compare(b.Points, a.Points) }) // equal: who was first
		after = after[:min(places, len(after))]
		if slices.Equal(before, after) {
			return nil
		}
		best.Set(c, after)
		changed.EmitLatest(c, after) // one record a game and commit, however often it changes
		return nil
	})
	return app
}

// A running top three.
func Example_topN() {
	d := processortest.New(nil, podium())
	for _, score := range []string{
		`{"player":"ada","points":5}`, `{"player":"bob","points":7}`, `{"player":"eve","points":6}`,
		`{"player":"joe","points":1}`, `{"player":"ada","points":9}`,
	} {
		d.Send("scores", "chess", score)
	}
	d.Commit()

	for _, top := range processortest.Values(d, "podiums", codec.JSON[[]Score]()) {
		fmt.Println(top)
	}
	// Output: [{ada 9} {bob 7} {eve 6}]
}
