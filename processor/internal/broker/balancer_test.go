package broker

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatAMemberAnnouncesIsRead(t *testing.T) {
	a := announcement{Address: "node-1:8080", Have: []int64{0, 7, 1 << 40}}
	require.Equal(t, a, announced(a.append([]byte("user data of the balancer"))))
	require.Equal(t, announcement{}, announced([]byte("that of another program")))
	require.Equal(t, announcement{}, announced(append([]byte("x"), announcementMark...)), "nothing that can be read")
}

// The coordinator's record of the group has room for all members.
func TestALongAnnouncementIsCut(t *testing.T) {
	a := announcement{Address: "node-1:8080", Have: make([]int64, 5000)}
	for i := range a.Have {
		a.Have[i] = 1 << 40
	}
	raw := a.append(nil)
	require.Less(t, len(raw), 1000)
	require.Equal(t, announcement{Address: a.Address}, announced(raw))
}
