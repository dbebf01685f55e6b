package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/pflag"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/penstock/penstock/processor/engine"
)

// traceFlags say where spans go, and of which records.
type traceFlags struct {
	endpoint string
	ratio    float64
}

func (f *traceFlags) flags(fs *pflag.FlagSet) {
	fs.StringVar(&f.endpoint, "trace-endpoint", "", "OTLP collector that gets spans of records whose headers carry a trace context (traceparent), by HTTP, such as http://localhost:4318; "+
		"headers, certificates and time-outs by the variables OTEL_EXPORTER_OTLP_...")
	fs.Float64Var(&f.ratio, "trace-ratio", 0, "part of the other records that begin a trace, 0 to 1")
}

// traceStop is how long the last spans may take to be sent.
const traceStop = 3 * time.Second

// trace makes the engine trace, where that is asked for, until the function is called that it returns.
func (f *traceFlags) trace(ctx context.Context, p *program, app string, cfg *engine.Config) (stop func(), err error) {
	if f.endpoint == "" {
		return func() {}, nil
	}
	if u, err := url.Parse(f.endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usage(fmt.Errorf("trace-endpoint %q: use http://HOST:PORT or https://HOST:PORT", f.endpoint))
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(f.tracesURL()))
	if err != nil {
		return nil, fmt.Errorf("trace-endpoint %s: %w", f.endpoint, err)
	}
	of, err := resource.New(ctx, resource.WithFromEnv(), resource.WithHost(), resource.WithAttributes(
		attribute.String("service.name", "penstock"), attribute.String("service.namespace", app), attribute.String("service.version", versionText())))
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { p.logger.Warn("spans are not sent", "error", err) }))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(of))
	cfg.Tracer, cfg.TraceRatio = provider, f.ratio
	return func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), traceStop)
		defer cancel()
		if err := provider.Shutdown(end); err != nil {
			p.logger.Warn("the last spans are not sent", "error", err)
		}
	}, nil
}

// tracesURL is the endpoint with the path that OTLP has, unless it names one.
func (f *traceFlags) tracesURL() string {
	u, err := url.Parse(f.endpoint)
	if err == nil && (u.Path == "" || u.Path == "/") {
		u.Path = "/v1/traces"
		return u.String()
	}
	return f.endpoint
}
