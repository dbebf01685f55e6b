package query

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A partition that is named twice would be read twice, and held as often as an asker likes.
func TestPartitionsAreNamedOnce(t *testing.T) {
	list, err := partitionsOf("0,7,3")
	require.NoError(t, err)
	require.Equal(t, []int32{0, 7, 3}, list)
	for _, wrong := range []string{"", "1,1", "1,01", "-1", "x", "1,,2", "4294967296"} {
		_, err := partitionsOf(wrong)
		require.ErrorAs(t, err, &badRequest{}, wrong)
	}
}
