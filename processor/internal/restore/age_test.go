package restore

import (
	"testing"
	"time"

	"github.com/penstock/penstock/processor/internal/broker"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/stretchr/testify/require"
)

// R7: the age of a restore that hung is noticed at its end, also when the clock was set back meanwhile.
func TestARestoreAgesWhateverTheClockSays(t *testing.T) {
	const retention = 24 * time.Hour
	for _, c := range []struct {
		name        string
		asOf        time.Duration // before now, as the clock says
		age, passed time.Duration // at the beginning, and since
		aged        bool
	}{
		{"young", time.Hour, 0, time.Hour, false},
		{"hung", 25 * time.Hour, 0, 25 * time.Hour, true},
		{"old and hung", 25 * time.Hour, 20 * time.Hour, 5 * time.Hour, true},
		{"hung, the clock set back", -time.Hour, 0, 25 * time.Hour, true},
		{"old and hung, the clock set back", time.Minute, 20 * time.Hour, 5 * time.Hour, true},
		{"frozen with the clock that counts", 25 * time.Hour, 0, time.Minute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &run{Config: Config{Changelogs: []broker.Topic{{Name: "log", DeleteRetentionMs: retention.Milliseconds()}}},
				age: c.age, found: time.Now().Add(-c.passed)}
			why := r.aged(task.Position{Time: time.Now().Add(-c.asOf).UnixMilli()})
			require.Equal(t, c.aged, why != "", "%q", why)
		})
	}
}
