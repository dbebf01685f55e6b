package feed_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/cmd/penstock/internal/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in"))
	require.NoError(t, err)
	t.Cleanup(c.Close)
	opts = append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics("in"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	cl, err := kgo.NewClient(append(opts, feed.ClientOpts(nil)...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// sent feeds a stream and returns the records as "key value", and the bad lines as "number reason".
func sent(t *testing.T, in, out feed.Format, input io.Reader) (records, bad []string) {
	cl := client(t)
	f := feed.New(feed.Config{Client: cl, Topic: "in", Output: out, Bad: func(source string, line int, err error) {
		require.Equal(t, "here", source)
		reason, _, _ := strings.Cut(err.Error(), ":")
		bad = append(bad, fmt.Sprint(line, " ", reason))
	}})
	require.NoError(t, f.Read(t.Context(), feed.Stream{Source: "here", Format: in, Reader: input}))
	require.NoError(t, f.Flush(t.Context()))
	require.EqualValues(t, len(bad), f.Bad())
	for int64(len(records)) < f.Sent() {
		cl.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			records = append(records, fmt.Sprintf("%s %s", r.Key, r.Value))
		})
	}
	return records, bad
}

func TestLinesBecomeRecords(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, c := range []struct {
		name          string
		in, out       feed.Format
		lines         string
		records, bad_ []string
	}{
		{"CSV to JSON", feed.CSV, feed.JSON, "a,1\nb,2.50,true\n\"c,d\",-0.10,x\n",
			[]string{`a {"sessionId":"a","winAmount":1,"deposit":false}`, `b {"sessionId":"b","winAmount":2.50,"deposit":true}`, `c,d {"sessionId":"c,d","winAmount":-0.10,"deposit":false}`}, nil},
		{"CSV as it is", feed.CSV, feed.CSV, "a, 1 ,TRUE\n", []string{"a a, 1 ,TRUE"}, nil},
		{"JSON as it is", feed.JSON, feed.JSON, `{"winAmount":1e2,"sessionId":"a","x":[1]}`, []string{`a {"winAmount":1e2,"sessionId":"a","x":[1]}`}, nil},
		{"JSON to CSV", feed.JSON, feed.CSV, `{"winAmount":1e2,"sessionId":"a\"b"}`, []string{`a"b "a""b",100,false`}, nil},
		{"ends of lines", feed.CSV, feed.CSV, "a,1\r\n\n\r\nb,2", []string{"a a,1", "b b,2"}, nil},
		{"byte order mark", feed.CSV, feed.CSV, "\ufeffa,1\n", []string{"a a,1"}, nil},
		{"header line", feed.CSV, feed.CSV, "\ufeffSessionId,winAmount,deposit\na,1\n", []string{"a a,1"}, nil},
		{"bad lines are named and not sent", feed.CSV, feed.JSON, "a,1\nb\n,1\nc,one\n\xff,1\nsessionId,winAmount\nd,1\n",
			[]string{`a {"sessionId":"a","winAmount":1,"deposit":false}`, `d {"sessionId":"d","winAmount":1,"deposit":false}`},
			[]string{"2 missing-field", "3 empty-id", "4 amount", "5 utf8", "6 amount"}},
		{"a line that is too long", feed.CSV, feed.CSV, "a,1\n" + long + long + "\nb,2\n", []string{"a a,1", "b b,2"}, []string{"2 line is longer than 1048576 bytes"}},
		{"a last line that is too long", feed.CSV, feed.CSV, "a,1\n" + long + long, []string{"a a,1"}, []string{"2 line is longer than 1048576 bytes"}},
		{"nothing", feed.CSV, feed.CSV, "", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			records, bad := sent(t, c.in, c.out, strings.NewReader(c.lines))
			require.Equal(t, c.records, records)
			require.Equal(t, c.bad_, bad)
		})
	}
}

func TestBrokenStreamIsAnError(t *testing.T) {
	f := feed.New(feed.Config{Client: client(t), Topic: "in"})
	broken := io.MultiReader(strings.NewReader("a,1\n"), iotestErr{})
	err := f.Read(t.Context(), feed.Stream{Source: "here", Format: feed.CSV, Reader: broken})
	require.ErrorContains(t, err, "read here: cut")
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestRefusedRecordEndsTheFeed(t *testing.T) {
	cl := client(t, kgo.UnknownTopicRetries(0))
	f := feed.New(feed.Config{Client: cl, Topic: "no-such-topic", Output: feed.CSV})
	require.NoError(t, f.Read(t.Context(), feed.Stream{Format: feed.CSV, Reader: strings.NewReader("a,1\n")}))
	require.ErrorContains(t, f.Flush(t.Context()), "send to topic no-such-topic: ")
}

func TestRateIsKept(t *testing.T) {
	f := feed.New(feed.Config{Client: client(t), Topic: "in", Output: feed.CSV, Rate: 100})
	began := time.Now()
	require.NoError(t, f.Read(t.Context(), feed.Stream{Format: feed.CSV, Reader: strings.NewReader(strings.Repeat("a,1\n", 21))}))
	require.GreaterOrEqual(t, time.Since(began), 190*time.Millisecond)
}

func TestEndOfContextEndsRead(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := feed.New(feed.Config{Client: client(t), Topic: "in", Output: feed.CSV, Rate: 1})
	require.ErrorIs(t, f.Read(ctx, feed.Stream{Format: feed.CSV, Reader: strings.NewReader("a,1\nb,1\n")}), context.Canceled)
}

// A line that the topic would refuse is a bad line, kept as far as its topic takes it: it does not end what others send.
func TestALineTooLargeForItsTopicIsABadLine(t *testing.T) {
	line := func(id string, bytes int) string {
		return fmt.Sprintf(`{"sessionId":%q,"winAmount":1,"note":%q}`, id, strings.Repeat("x", bytes))
	}
	for name, c := range map[string]struct {
		limits feed.Limits
		large  int
	}{"the client's bound": {nil, 999_900}, "the topic's": {feed.Limits{"in": 3000, "bad": 2000}, 3000}} {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "in", "bad"))
			require.NoError(t, err)
			t.Cleanup(cluster.Close)
			cl, err := kgo.NewClient(append(feed.ClientOpts(c.limits), kgo.SeedBrokers(cluster.ListenAddrs()...),
				kgo.ConsumeTopics("in", "bad"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
			require.NoError(t, err)
			t.Cleanup(cl.Close)
			var bad []int
			f := feed.New(feed.Config{Client: cl, Limits: c.limits, Topic: "in", BadTopic: "bad", Output: feed.JSON, Bad: func(_ string, n int, err error) {
				require.ErrorContains(t, err, "too large for the topic")
				bad = append(bad, n)
			}})
			lines := strings.Join([]string{line("a", 10), line("b", c.large), line("c", 10)}, "\n")
			require.NoError(t, f.Read(t.Context(), feed.Stream{Source: "here", Format: feed.JSON, Reader: strings.NewReader(lines)}))
			require.NoError(t, f.Flush(t.Context()))
			require.Equal(t, []int{2}, bad)
			require.EqualValues(t, 2, f.Sent())
			var kept int
			for n := 0; n < 3; {
				cl.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
					n++
					if r.Topic == "bad" {
						kept = len(r.Value)
						require.Equal(t, "too-large", string(r.Headers[0].Value))
					}
				})
			}
			require.Greater(t, kept, c.limits["bad"]/2)
			require.LessOrEqual(t, kept, c.large+100)
		})
	}
}
