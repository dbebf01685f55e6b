package view

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// progressEvery is the pause between two pictures of a progress line.
const progressEvery = 200 * time.Millisecond

// Progress is a line at the bottom of a terminal that says how far something is. Other text is written through it, and
// stands above the line. Safe for concurrent use.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer
	say   func() string
	shown bool
	ended bool
	stop  chan struct{}
	done  chan struct{}
}

// NewProgress shows on the terminal w what say answers, from now on until Close.
func NewProgress(w io.Writer, say func() string) *Progress {
	p := &Progress{w: w, say: say, stop: make(chan struct{}), done: make(chan struct{})}
	go p.run()
	return p
}

func (p *Progress) run() {
	defer close(p.done)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.mu.Lock()
			_ = p.draw(nil)
			p.mu.Unlock()
		}
	}
}

// Write writes whole lines above the progress line.
func (p *Progress) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended || !bytes.HasSuffix(text, []byte("\n")) {
		return p.w.Write(text)
	}
	return len(text), p.draw(text)
}

// draw replaces the line by text, where there is some, and a new line, in one write so that nothing flickers.
func (p *Progress) draw(text []byte) error {
	var picture []byte
	if p.shown {
		picture = append(picture, "\r\x1b[K"...)
	}
	picture = append(picture, text...)
	picture = append(picture, p.say()...)
	p.shown = true
	_, err := p.w.Write(picture)
	return err
}

// Close wipes the line.
func (p *Progress) Close() error {
	close(p.stop)
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	if !p.shown {
		return nil
	}
	_, err := io.WriteString(p.w, "\r\x1b[K")
	return err
}
