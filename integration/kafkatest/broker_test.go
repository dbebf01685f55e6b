package kafkatest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/penstock/penstock/integration/kafkatest"
)

func TestBrokerKeepsAddressAndDataOverKillPauseAndRestart(t *testing.T) {
	began := time.Now()
	b := kafkatest.Start(t, kafkatest.WithConfig("log.retention.ms", "-1"))
	t.Logf("started in %v", time.Since(began).Round(time.Millisecond))
	addr := b.Addr()

	const topic, partitions, records = "transactions", 2, 100
	b.CreateTopic(t, topic, partitions, map[string]string{"max.message.bytes": "65536"})
	produce(t, b, topic, 0, records)

	b.Kill()
	if err := ping(b, time.Second); err == nil {
		t.Fatalf("broker on %s answers after Kill", addr)
	}
	began = time.Now()
	b.Restart()
	t.Logf("restarted after kill in %v", time.Since(began).Round(time.Millisecond))
	if got := b.Addr(); got != addr {
		t.Fatalf("address after restart = %s, was %s", got, addr)
	}
	produce(t, b, topic, records, 2*records)

	b.Pause()
	if err := ping(b, time.Second); err == nil {
		t.Fatalf("broker on %s answers while paused", addr)
	}
	b.Unpause()

	began = time.Now()
	b.Restart()
	t.Logf("stopped and started in %v", time.Since(began).Round(time.Millisecond))
	consume(t, b, topic, 2*records)
	if logs := b.Logs(); strings.Count(logs, "Kafka Server started") != 3 {
		t.Errorf("log does not show 3 starts:\n%s", logs)
	}
}

func TestCreateTopicSetsPartitionsAndConfigs(t *testing.T) {
	b := kafkatest.Start(t)
	name := fmt.Sprintf("kafkatest-%d", time.Now().UnixNano())
	b.CreateTopic(t, name, 3, map[string]string{"cleanup.policy": "compact"})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	admin := b.Admin(t)
	t.Cleanup(func() { admin.DeleteTopic(context.Background(), name) })

	topics, err := admin.ListTopics(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(topics[name].Partitions); got != 3 {
		t.Errorf("partitions = %d, want 3", got)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
			t.Errorf("cleanup.policy = %q, want compact", c.MaybeValue())
		}
	}
}

func ping(b *kafkatest.Broker, within time.Duration) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	return client.Ping(ctx)
}

func produce(t *testing.T, b *kafkatest.Broker, topic string, from, to int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i := from; i < to; i++ {
		record := &kgo.Record{Topic: topic, Key: fmt.Append(nil, "session", i%7), Value: fmt.Append(nil, i)}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce %d: %v", i, err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		t.Fatalf("flush: %v", err)
	}
}

// consume fails the test unless the topic holds the records 0 to n-1, each once.
func consume(t *testing.T, b *kafkatest.Broker, topic string, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()), kgo.ConsumeTopics(topic))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seen := make(map[string]int, n)
	for total := 0; total < n; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read after %d of %d records: %v", total, n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen[string(r.Value)]++
			total++
		})
	}
	for i := range n {
		if got := seen[fmt.Sprint(i)]; got != 1 {
			t.Errorf("record %d read %d times, want once", i, got)
		}
	}
}
