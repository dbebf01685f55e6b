package view

import (
	"bytes"
	"testing"

	"github.com/penstock/penstock/processor/session"
	"github.com/stretchr/testify/require"
)

func TestBatchesLookLikeSparks(t *testing.T) {
	var out bytes.Buffer
	b := NewBatches(&out)
	require.NoError(t, b.Flush())
	b.Show(update(t, `{"sessionId":"s1","currentBalance":100,"depositCurrentBalance":false}`))
	require.NoError(t, b.Flush())
	require.NoError(t, b.Flush())
	b.Show(update(t, `{"sessionId":"session22","currentBalance":12345678901234.50,"depositCurrentBalance":true}`))
	require.NoError(t, b.Close())
	require.Equal(t, `-------------------------------------------
Batch: 0
-------------------------------------------
+---------+--------------+---------------------+
|sessionId|currentBalance|depositCurrentBalance|
+---------+--------------+---------------------+
|       s1|           100|                false|
+---------+--------------+---------------------+

-------------------------------------------
Batch: 1
-------------------------------------------
+---------+-----------------+---------------------+
|sessionId|   currentBalance|depositCurrentBalance|
+---------+-----------------+---------------------+
|session22|12345678901234.50|                 true|
+---------+-----------------+---------------------+

`, out.String())
}

func TestCSV(t *testing.T) {
	var out bytes.Buffer
	c := NewCSV(&out)
	c.Show(update(t, `{"sessionId":"a,\"b","currentBalance":0.10,"depositCurrentBalance":true}`))
	require.NoError(t, c.Close())
	require.Equal(t, "sessionId,currentBalance,depositCurrentBalance\n\"a,\"\"b\",0.10,true\n", out.String())
}

func update(t *testing.T, text string) session.SessionUpdate {
	t.Helper()
	u, err := session.SessionUpdateJSON().Decode([]byte(text))
	require.NoError(t, err)
	return u
}
