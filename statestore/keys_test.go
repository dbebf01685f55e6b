package statestore_test

import (
	"testing"

	"github.com/penstock/penstock/statestore"
	"github.com/stretchr/testify/require"
)

func TestKeysAreSortedAndEachOnce(t *testing.T) {
	for _, c := range []struct{ add, want []string }{
		{nil, nil},
		{[]string{"", ""}, []string{""}},
		{[]string{"b", "", "a", "b", "ab", "a"}, []string{"", "a", "ab", "b"}},
	} {
		var keys statestore.Keys
		for _, k := range c.add {
			keys.Add([]byte(k))
		}
		require.Equal(t, len(c.add), keys.Len())
		var got []string
		for k := range keys.Sorted() {
			got = append(got, string(k))
		}
		require.Equal(t, c.want, got)
	}
}
