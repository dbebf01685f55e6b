package engine_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/penstock/penstock/codec"
	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/engine"
)

func pageVisits() *processor.App {
	app := processor.New("page-visits")
	count := processor.NewState(app, "count", codec.Int64())
	processor.Handle(app, "visits", codec.Text(), func(c *processor.Context, _ string) error {
		n, _ := count.Get(c)
		count.Set(c, n+1)
		return nil
	})
	return app
}

// The main function of a service: it ends within seconds of SIGTERM, with its transactions finished.
func ExampleRun() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := engine.Run(ctx, pageVisits(), engine.Config{
		Brokers:  []string{"broker-1:9093", "broker-2:9093"},
		TLS:      &tls.Config{},
		StateDir: "/var/lib/page-visits",
	})
	if err != nil {
		log.Fatal(err) // a fault that a person must see to; what the brokers do is waited for
	}
}

func ExampleMonitor() {
	monitor := engine.NewMonitor()
	go func() { log.Println(http.ListenAndServe("127.0.0.1:8080", monitor.Handler())) }() // /readyz, /metrics, ...

	err := engine.Run(context.Background(), pageVisits(), engine.Config{Brokers: []string{"localhost:9092"}, Monitor: monitor})
	log.Println(err, monitor.Status())
}

// Everything that is wrong with a configuration is said at once.
func ExampleConfig_Validate() {
	fmt.Println(engine.Config{SessionTimeout: time.Millisecond}.Validate())
	// Output:
	// no brokers: name at least one as host:port
	// session timeout 1ms: use at least 1s
	// commit interval 300ms is longer than half the transaction timeout 1ms
}

// Forget all state and process the input again: first what would be done, then it is done.
func ExampleReset() {
	ctx, cfg := context.Background(), engine.Config{Brokers: []string{"localhost:9092"}}
	plan, err := engine.PlanReset(ctx, pageVisits(), cfg, engine.ResetPoint{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Inputs, plan.Changelogs)
	_, err = engine.Reset(ctx, pageVisits(), cfg, engine.ResetPoint{})
	if errors.Is(err, engine.ErrLive) {
		log.Fatal("stop every process first")
	}
}
