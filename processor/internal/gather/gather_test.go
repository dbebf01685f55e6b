package gather

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// R5: an answer is never one that was asked for before the question.
func TestGatheredAnswersAreNotOlderThanTheirQuestions(t *testing.T) {
	var g Asker[int64]
	var clock, rounds atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 500 {
				asked := clock.Add(1)
				answer, err := g.Do(t.Context(), func() (int64, error) {
					rounds.Add(1)
					return clock.Add(1), nil
				})
				if err != nil || answer <= asked {
					t.Errorf("asked at %d, answered as of %d: %v", asked, answer, err)
				}
			}
		})
	}
	all.Wait()
	require.LessOrEqual(t, rounds.Load(), int64(16*500))
}

func TestGatheredQuestionsShareARound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Asker[int]
		rounds := 0
		ask := func() (int, error) {
			rounds++
			time.Sleep(time.Second)
			return rounds, errors.New("with its error")
		}
		begun := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				_, err := g.Do(t.Context(), ask)
				require.EqualError(t, err, "with its error")
			})
		}
		// One who does not wait for it neither ends a round nor waits.
		impatient, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := g.Do(impatient, ask)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		all.Wait()
		require.LessOrEqual(t, rounds, 2)
		require.LessOrEqual(t, time.Since(begun), 2*time.Second)
	})
}

func TestRoundsKeepTheirPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := Asker[int]{Pause: time.Second}
		begun, rounds := time.Now(), 0
		for range 5 {
			_, err := g.Do(t.Context(), func() (int, error) { rounds++; return 0, nil })
			require.NoError(t, err)
		}
		require.Equal(t, 5, rounds)
		require.Equal(t, 4*time.Second, time.Since(begun))
		time.Sleep(time.Minute)
		begun = time.Now()
		_, err := g.Do(t.Context(), func() (int, error) { return 0, nil })
		require.NoError(t, err)
		require.Zero(t, time.Since(begun), "who asks after a pause does not wait")
		time.Sleep(time.Second) // the rounds' goroutine ends
	})
}
