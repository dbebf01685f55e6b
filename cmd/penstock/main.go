// Command penstock runs the session window on Kafka, and what goes with it. See penstock --help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/mattn/go-isatty"
)

func main() {
	ctx, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, restore) // a second signal kills
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	p.terminal = isatty.IsTerminal(os.Stdout.Fd()) && os.Getenv("TERM") != "dumb"
	p.typed = isatty.IsTerminal(os.Stdin.Fd())
	p.errTerminal = isatty.IsTerminal(os.Stderr.Fd()) && os.Getenv("TERM") != "dumb"
	os.Exit(p.run(ctx, os.Args[1:]))
}
