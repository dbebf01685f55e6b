package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/feed"
	"github.com/penstock/penstock/cmd/penstock/internal/kafka"
	"github.com/penstock/penstock/cmd/penstock/internal/settings"
	"github.com/penstock/penstock/cmd/penstock/internal/tlsfiles"
	"github.com/penstock/penstock/cmd/penstock/internal/view"
)

type produceFlags struct {
	shared
	lines   string // format, "auto": by the file's name
	connect string
	listen  string
	cert    string
	key     string
	once    bool
	letters string
	rate    int
	skipBad bool
	idle    time.Duration
	httpFlags
}

const produceExample = `  penstock produce wins.csv
  cat wins.jsonl | penstock produce --input-format json -
  penstock produce --connect localhost:9999
  penstock produce --listen localhost:9999     then: echo session1,12.50,false | nc -N localhost 9999`

func (p *program) produceCommand() *cobra.Command {
	f := &produceFlags{}
	cmd := &cobra.Command{
		Use: "produce [FILE...]", Short: "Send lines to the input topic", Example: produceExample,
		Long: `Produce sends lines to the input topic, keyed by session id: from files, from standard input ("-", or no argument), from
a line server, which is asked again when it hangs up, or as one. A CSV line is sessionId,winAmount[,deposit], a JSON line
{"sessionId":"session1","winAmount":12.50,"deposit":false}. A line that cannot be read is reported and not sent; the exit
code is then 1 unless --skip-bad is given.`,
		RunE: p.verb(func(cmd *cobra.Command, args []string) error { return p.produce(cmd.Context(), f, args) }),
	}
	share(cmd, func(fs *pflag.FlagSet) {
		f.conn.Flags(cmd, fs)
		f.inputFlag(fs)
		settings.Choice(cmd, fs, &f.inputFormat, "output-format", formats, "format of the records")
		settings.Key(fs, "output-format", "input-format") // they are the window's input
	})
	own(cmd, func(fs *pflag.FlagSet) {
		settings.Choice(cmd, fs, &f.lines, "input-format", []string{"auto", "csv", "json"}, "format of the lines; auto goes by the file's name, and else takes csv")
		fs.StringVar(&f.connect, "connect", "", "read lines from the server at HOST:PORT, and again when it has hung up, until interrupted")
		fs.BoolVar(&f.once, "once", false, "with --connect: end when the server hangs up")
		fs.StringVar(&f.listen, "listen", "", "be a line server at this address until interrupted")
		fs.StringVar(&f.cert, "listen-tls-cert", "", "PEM file of the certificate to listen by TLS with; read again when it changes")
		fs.StringVar(&f.key, "listen-tls-key", "", "PEM file of its key")
		fs.DurationVar(&f.idle, "listen-idle-limit", 0, "end a client that sends nothing for so long; 0: none is")
		fs.StringVar(&f.letters, "bad-topic", "", "topic for the lines that are bad, each with its reason, source and number")
		fs.IntVar(&f.rate, "rate", 0, "most records a second; 0: no bound")
		fs.BoolVar(&f.skipBad, "skip-bad", false, "exit with 0 although lines were bad")
		f.httpFlags.flags(fs, "address to serve /metrics, /livez and /readyz at", "/metrics asks for; the probes ask for none")
	})
	return cmd
}

func (p *program) produce(ctx context.Context, f *produceFlags, files []string) error {
	if f.connect != "" && f.listen != "" || f.connect+f.listen != "" && len(files) > 0 {
		return usage(errors.New("files, --connect and --listen exclude each other"))
	}
	limits := feed.Limits{}
	cl, err := f.conn.Client(ctx, feed.ClientOpts(limits)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kafka.Partitions(ctx, cl, f.input); err != nil {
		if errors.Is(err, kafka.ErrNoTopic) {
			err = fmt.Errorf("%w: create it, or start penstock run with --create-topics", err)
		}
		return err
	}
	if f.letters != "" {
		if _, err := kafka.Partitions(ctx, cl, f.letters); err != nil {
			return err
		}
		limits[f.letters] = kafka.MaxMessageBytes(ctx, cl, f.letters)
	}
	limits[f.input] = kafka.MaxMessageBytes(ctx, cl, f.input)
	began := time.Now()
	fd := feed.New(feed.Config{Client: cl, Limits: limits, Topic: f.input, Output: feed.Format(f.inputFormat), Rate: f.rate, BadTopic: f.letters, Bad: p.badLine, IdleLimit: f.idle})
	watched, err := f.httpFlags.serve(ctx, p, counted(func() bool { return true }, fd))
	if err != nil {
		return err
	}
	defer watched()
	typed := p.typed && f.connect+f.listen == "" && (len(files) == 0 || slices.Contains(files, "-"))
	hide := p.showFeed(fd, began, !typed)
	err = p.feed(ctx, f, fd, files)
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if flushErr := fd.Flush(flush); err == nil || errors.Is(err, context.Canceled) {
		err = errors.Join(flushErr, err)
	}
	hide()
	elapsed := time.Since(began).Seconds()
	p.say("%s records sent to %s, %s bad lines, %s, %s records/s", view.Number(fd.Sent()), f.input, view.Number(fd.Bad()),
		view.Seconds(elapsed), view.Number(int64(float64(fd.Sent())/elapsed)))
	if err == nil && fd.Bad() > 0 && !f.skipBad {
		err = fmt.Errorf("%d bad lines were not sent", fd.Bad())
	}
	return err
}

// showFeed shows on a terminal how far it is, until the function is called that it returns. Where lines are typed at the
// same terminal it does not.
func (p *program) showFeed(fd *feed.Feed, began time.Time, show bool) (hide func()) {
	if !p.errTerminal || !show {
		return func() {}
	}
	stderr := p.stderr
	line := view.NewProgress(stderr, func() string {
		s := time.Since(began).Seconds()
		return fmt.Sprintf("%s lines, %s acknowledged, %s bad, %s, %s records/s", view.Number(fd.Lines()), view.Number(fd.Sent()), view.Number(fd.Bad()),
			view.Seconds(s), view.Number(int64(float64(fd.Sent())/s)))
	})
	p.stderr = line
	p.setLogger()
	return func() {
		_ = line.Close()
		p.stderr = stderr
		p.setLogger()
	}
}

// flushTimeout bounds the wait for the brokers at the end.
const flushTimeout = 30 * time.Second

func (p *program) badLine(source string, line int, err error) { p.say("%s:%d: %v", source, line, err) }

// feed sends all that the flags name.
func (p *program) feed(ctx context.Context, f *produceFlags, fd *feed.Feed, files []string) error {
	switch {
	case f.connect != "" && f.once:
		return fd.Dial(ctx, f.connect, f.format(""))
	case f.connect != "":
		return fd.Follow(ctx, f.connect, f.format(""), func(err error, next time.Duration) {
			if err == nil {
				err = fmt.Errorf("%s hung up", f.connect)
			}
			p.logger.Warn("the line server is asked again", "cause", err, "in", next.Round(time.Millisecond))
		})
	case f.listen != "":
		l, err := f.listener(p.logger)
		if err != nil {
			return err
		}
		p.say("listening at %s for lines of %s", l.Addr(), f.format(""))
		return fd.Serve(ctx, l, f.format(""))
	case len(files) == 0:
		files = []string{"-"}
	}
	for _, name := range files {
		if err := p.feedFile(ctx, f, fd, name); err != nil {
			return err
		}
	}
	return nil
}

// listener is the line server's, by TLS where there is a certificate.
func (f *produceFlags) listener(logger *slog.Logger) (net.Listener, error) {
	if f.cert == "" && f.key == "" {
		return net.Listen("tcp", f.listen)
	}
	files, err := tlsfiles.Open(tlsfiles.Files{Cert: f.cert, Key: f.key}, func(err error) { logger.Warn(err.Error()) })
	if err != nil {
		return nil, usage(fmt.Errorf("listen-tls-cert, listen-tls-key: %w", err))
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, files.Server()), nil
}

func (p *program) feedFile(ctx context.Context, f *produceFlags, fd *feed.Feed, name string) error {
	s := feed.Stream{Source: name, Format: f.format(name), Reader: p.stdin}
	if name == "-" {
		s.Source = "standard input"
		s.Reader = interruptible(ctx, p.stdin)
		return fd.Read(ctx, s)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	s.Reader = file
	return fd.Read(ctx, s)
}

// format is that of the lines of a file.
func (f *produceFlags) format(name string) feed.Format {
	if f.lines != "auto" {
		return feed.Format(f.lines)
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".json", ".jsonl", ".ndjson":
		return feed.JSON
	}
	return feed.CSV
}

// interruptible reads from r until ctx is done. A read that waits then is left behind: nothing can end it but the
// process.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	pr, pw := io.Pipe()
	context.AfterFunc(ctx, func() { pw.CloseWithError(ctx.Err()) })
	go func() {
		buf := make([]byte, 256<<10)
		_, err := io.CopyBuffer(struct{ io.Writer }{pw}, struct{ io.Reader }{r}, buf)
		pw.CloseWithError(err)
	}()
	return pr
}
