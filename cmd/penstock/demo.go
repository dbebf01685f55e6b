package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/demo"
)

type demoFlags struct {
	records    int
	rate       int
	seed       uint64
	listen     string
	idle       time.Duration
	brokerPort int
}

const demoExample = `  penstock demo
  penstock demo --records 1000000 --rate 0
  penstock demo --idle-timeout 2s
  penstock demo --listen localhost:9999     then, elsewhere: nc localhost 9999`

func (p *program) demoCommand() *cobra.Command {
	f := &demoFlags{}
	cmd := &cobra.Command{
		Use: "demo", Short: "See it work: broker, processor and sample sessions in one process", Example: demoExample, Args: cobra.NoArgs,
		Long: `Demo needs nothing: it starts a broker inside the process, runs the processor on it, feeds sample sessions, shows their
updates, and proves in the end that the results are exact. With --listen it takes your own lines instead.`,
		RunE: p.verb(func(cmd *cobra.Command, _ []string) error { return p.demo(cmd.Context(), f) }),
	}
	own(cmd, func(fs *pflag.FlagSet) {
		fs.IntVar(&f.records, "records", 2000, "sample records to send")
		fs.IntVar(&f.rate, "rate", 500, "records a second; 0: as fast as it goes")
		fs.Uint64Var(&f.seed, "seed", 1, "of the sample: equal seeds, equal records")
		fs.StringVar(&f.listen, "listen", "", "take CSV lines at this address, until interrupted, instead of the sample")
		fs.DurationVar(&f.idle, "idle-timeout", 0, "close a session that has seen no transaction for that long; 0: never")
		fs.IntVar(&f.brokerPort, "broker-port", 0, "port of the embedded broker on 127.0.0.1; 0: any that is free")
	})
	return cmd
}

func (p *program) demo(ctx context.Context, f *demoFlags) error {
	if p.source("log-level") == "default" {
		p.level.Set(slog.LevelWarn) // the engine's story is not the demo's
	}
	v, restore, err := p.view(&tailFlags{})
	if err != nil {
		return err
	}
	defer restore()
	cfg := demo.Config{Records: f.records, Rate: f.rate, Seed: f.seed, Idle: f.idle, BrokerPort: f.brokerPort,
		View: v, Logger: p.logger, Say: p.say, Bad: p.badLine}
	if f.listen != "" {
		l, err := net.Listen("tcp", f.listen)
		if err != nil {
			return err
		}
		defer l.Close()
		host, port, _ := net.SplitHostPort(l.Addr().String())
		p.say("Type lines sessionId,winAmount[,deposit] here:  nc %s %s", host, port)
		p.say("For example:  session1,12.50   and then   session1,0,true   Ctrl-C here ends the demo.")
		cfg.Listen = l
	}
	report, err := demo.Run(ctx, cfg)
	restore()
	if err != nil {
		return err
	}
	fmt.Fprintln(p.stdout)
	printReport(p.stdout, report)
	return verdict(report)
}
