// Picture writes an animated SVG of a program on a terminal, from a real run: it needs tmux.
//
//	go run . FILE.svg COMMAND [ARGUMENT...]
package main

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	columns, lines    = 76, 28
	every             = 400 * time.Millisecond // between two frames
	hold              = 10                     // frames that the last one stays
	longest           = 2 * time.Minute
	charWidth, height = 8, 18 // of a character, in pixels
	margin            = 14
	session           = "penstock-picture"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: picture FILE.svg COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(file string, command []string) error {
	frames, err := record(command)
	if err != nil {
		return err
	}
	return os.WriteFile(file, svg("$ "+strings.Join(command, " "), frames), 0o644)
}

// record runs the command in a terminal of its own and returns what stood there, time after time, until it ended.
func record(command []string) (frames []string, err error) {
	const ended = "penstock-picture-ended"
	shell := strings.Join(command, " ") + "; echo " + ended + "; sleep 60"
	if out, err := exec.Command("tmux", "new-session", "-d", "-s", session, "-x", fmt.Sprint(columns), "-y", fmt.Sprint(lines), shell).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("tmux: %w: %s", err, out)
	}
	defer exec.Command("tmux", "kill-session", "-t", session).Run() //nolint:errcheck // it may have ended
	for began := time.Now(); time.Since(began) < longest; time.Sleep(every) {
		out, err := exec.Command("tmux", "capture-pane", "-p", "-e", "-t", session).Output()
		if err != nil {
			return nil, fmt.Errorf("tmux: %w", err)
		}
		text, _, done := strings.Cut(string(out), ended)
		if text = strings.TrimRight(text, " \n"); text != "" {
			frames = append(frames, text)
		}
		if done {
			return frames, nil
		}
	}
	return nil, fmt.Errorf("%v has not ended after %v", command, longest)
}

// svg draws the frames one after the other, for ever; the last one alone for who wants no motion.
func svg(title string, frames []string) []byte {
	for range hold {
		frames = append(frames, frames[len(frames)-1])
	}
	most := 0
	for _, f := range frames {
		most = max(most, strings.Count(f, "\n")+2)
	}
	w, h := columns*charWidth+2*margin, most*height+2*margin
	total := time.Duration(len(frames)) * every
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" role="img" aria-label="%s on a terminal">`+"\n", w, h, w, html.EscapeString(title))
	fmt.Fprintf(&b, "<style>text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre}.c{fill:#8b98a9}.g{fill:#8fd08f}.y{fill:#e5c07b}.r{fill:#ef8f8f}.b{font-weight:bold}"+
		"g{visibility:hidden;animation:f %.1fs infinite}@keyframes f{0%%{visibility:visible}%.4f%%{visibility:hidden}100%%{visibility:hidden}}"+
		"@media (prefers-reduced-motion:reduce){g{animation:none}g:last-of-type{visibility:visible}}</style>\n", total.Seconds(), 100/float64(len(frames)))
	fmt.Fprintf(&b, `<rect width="%d" height="%d" rx="8" fill="#1e2430"/>`+"\n", w, h)
	fmt.Fprintf(&b, `<text class="c" x="%d" y="%d">%s</text>`+"\n", margin, margin+height/2+4, html.EscapeString(title))
	for i, f := range frames {
		fmt.Fprintf(&b, `<g style="animation-delay:%.1fs">`+"\n", (time.Duration(i) * every).Seconds())
		class := ""
		for n, line := range strings.Split(f, "\n") {
			var text string
			text, class = coloured(line, class)
			fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", margin, margin+(n+1)*height+height/2+4, text)
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// coloured turns a line with a terminal's colours into spans; class is the colour at its begin, and next the one at its end.
func coloured(line, class string) (text, next string) {
	classes := map[string]string{"1": "b", "31": "r", "32": "g", "33": "y", "2": "c", "39": "", "0": "", "": ""}
	var b strings.Builder
	for i, part := range strings.Split(line, "\x1b[") {
		if i > 0 {
			codes, rest, _ := strings.Cut(part, "m")
			for code := range strings.SplitSeq(codes, ";") {
				if c, ok := classes[code]; ok {
					class = c
				}
			}
			part = rest
		}
		if part == "" {
			continue
		}
		if class == "" {
			b.WriteString(html.EscapeString(part))
			continue
		}
		fmt.Fprintf(&b, `<tspan class="%s">%s</tspan>`, class, html.EscapeString(part))
	}
	return b.String(), class
}
