package main

import (
	"slices"
	"testing"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor/processortest"
)

func TestWordsAreCountedOnceWhateverCrashes(t *testing.T) {
	for name, fault := range map[string]func(*processortest.Driver){
		"nothing":        func(*processortest.Driver) {},
		"abort":          (*processortest.Driver).Abort,
		"crash":          (*processortest.Driver).Crash,
		"crash and wipe": (*processortest.Driver).CrashAndWipe,
	} {
		t.Run(name, func(t *testing.T) {
			d := processortest.New(t, wordCount())
			for _, word := range []string{"to", "be", "or", "not", "to", "be"} {
				d.Send("words", word, "")
				fault(d)
				d.Commit()
			}
			want := []Count{{"to", 1, false}, {"be", 1, false}, {"or", 1, false}, {"not", 1, false}, {"to", 2, false}, {"be", 2, false}}
			if got := processortest.Values(d, "word-counts", codec.JSON[Count]()); !slices.Equal(got, want) {
				t.Fatalf("counts %v, want %v", got, want)
			}
			d.Advance(time.Hour)
			fault(d)
			d.Commit()
			if left := d.State("seen"); len(left) != 0 {
				t.Fatalf("not forgotten: %v", left)
			}
			got := processortest.Values(d, "word-counts", codec.JSON[Count]())
			if len(got) != len(want)+4 || !slices.Contains(got, Count{"to", 2, true}) {
				t.Fatalf("final counts %v", got[len(want):])
			}
		})
	}
}

func TestWhatIsNotAWordIsADeadLetter(t *testing.T) {
	d := processortest.New(t, wordCount())
	d.Send("words", "two words", "")
	d.Commit()
	letters := d.DeadLetters()
	if len(letters) != 1 || letters[0].Headers[processortest.HeaderReason] != "not-a-word" {
		t.Fatalf("dead letters %v", letters)
	}
	if left := d.State("seen"); len(left) != 0 {
		t.Fatalf("counted all the same: %v", left)
	}
}
