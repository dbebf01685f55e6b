package engine

import (
	"context"

	"github.com/penstock/penstock/processor/internal/broker"
)

// ExplainUnreachable says why the brokers of cfg could not be reached, where err is what a Kafka client said: no listener,
// TLS on one side only, an unknown authority, another host name, a log-in that is refused. [Run] does so by itself.
func ExplainUnreachable(ctx context.Context, cfg Config, err error) error {
	return broker.Explain(ctx, cfg.broker(""), err)
}
