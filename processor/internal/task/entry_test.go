package task

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestAnEntryIsTwoLines(t *testing.T) {
	require.EqualValues(t, 64, unsafe.Offsetof(entry{}.exists))
	require.EqualValues(t, 128, unsafe.Sizeof(entry{}))
}
