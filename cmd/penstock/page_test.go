package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/device"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// chromium starts a headless browser, without which the test skips; in CI it fails instead.
func chromium(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser; run without -short")
	}
	file := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if at, err := exec.LookPath(name); err == nil {
			file = at
			break
		}
	}
	if file == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("no chromium on this machine")
		}
		t.Skip("no chromium on this machine: apt-get install chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(file), chromedp.NoSandbox, chromedp.WSURLReadTimeout(time.Minute))
	allocator, end := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	limited, stop := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(stop)
	return limited
}

// A person opens the page of a running process, gives the token, sees what goes on, and looks for a session; by keyboard, and on
// a phone. PENSTOCK_SCREENSHOTS names a directory for pictures.
func TestThePageInABrowser(t *testing.T) {
	ctx := chromium(t)
	addr := broker(t)
	at := "--brokers=" + addr
	c := startWith(t, []string{"PENSTOCK_HTTP_TOKEN=let-me-in"}, "", "run", at, "--create-topics", "--state-dir", t.TempDir(), "--http", "127.0.0.1:0", "--instance", "t1")
	base := "http://" + c.stderr.await(t, `msg=http address=(\S+)`)[1]
	require.Eventually(t, func() bool { code, _ := ask(t, base+"/readyz", ""); return code == 200 }, 30*time.Second, 20*time.Millisecond)
	var lines strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&lines, "session%d,%d.%02d\n", i%200, i%50, i%100)
	}
	start(t, "s1,1234567890123456.70\ns1,0.05\nx,1e99\n"+lines.String(), "produce", at, "--input-format", "csv", "--skip-bad", "-").end(t, 0)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "transactions", Key: []byte("z"), Value: []byte("not json")}).FirstErr())
	cl.Close()
	for _, path := range []string{"/api/v1/events", "/api/v1/config", "/api/v1/owners", "/api/v1/updates?session=s1"} {
		code, _ := ask(t, base+path, "")
		require.Equal(t, http.StatusUnauthorized, code, path)
	}

	see := func(what, says string) {
		t.Helper()
		var text string
		require.Eventually(t, func() bool {
			return chromedp.Run(ctx, chromedp.Text(what, &text, chromedp.ByQuery)) == nil && strings.Contains(text, says)
		}, 30*time.Second, 100*time.Millisecond, "%s: want %q", what, says)
	}
	do := func(actions ...chromedp.Action) {
		t.Helper()
		require.NoError(t, chromedp.Run(ctx, actions...))
	}
	do(chromedp.EmulateViewport(1100, 900), chromedp.Navigate(base), chromedp.WaitVisible("#token-value", chromedp.ByQuery))
	do(chromedp.SendKeys("#token-value", "wrong\r", chromedp.ByQuery))
	see("#token-says", "not the one")
	do(chromedp.SendKeys("#token-value", "let-me-in\r", chromedp.ByQuery))
	see("#health", "ready")
	see("#who", "penstock, instance t1")
	see("#counts", "2,003")
	see("#partitions", "t1 (this one)")
	see("#rejections", "1")
	see("#settings", "http-token")
	var settings string
	do(chromedp.Text("#settings", &settings, chromedp.ByQuery))
	require.NotContains(t, settings, "let-me-in")
	var label string
	do(chromedp.AttributeValue("#rate-chart", "aria-label", &label, nil, chromedp.ByQuery))
	require.Contains(t, label, "Records a second over the last hour")

	do(chromedp.Focus("#session", chromedp.ByQuery), chromedp.SendKeys("#session", "s1\r", chromedp.ByQuery))
	see("#found", "balance 1234567890123456.75") // to the cent: no number of a script
	see("#found", `"currentBalance":1234567890123456.70`)
	do(chromedp.SetValue("#session", "nobody", chromedp.ByQuery), chromedp.SendKeys("#session", "\r", chromedp.ByQuery))
	see("#found", "is not open")
	do(chromedp.SetValue("#session", "s1", chromedp.ByQuery), chromedp.SendKeys("#session", "\r", chromedp.ByQuery))
	see("#found", "balance")
	accessible(t, ctx)
	pictures(t, ctx)
	do(chromedp.Emulate(device.IPhone12))
	var wide bool
	do(chromedp.Evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth", &wide))
	require.False(t, wide, "the page is wider than a phone")

	began := time.Now()
	c.stop() // while the page follows
	c.end(t, 0)
	require.Less(t, time.Since(began), 8*time.Second)
	see("#health", "no answer")
}

// accessible checks what a reader of the page without eyes or mouse needs.
func accessible(t *testing.T, ctx context.Context) {
	t.Helper()
	var faults []string
	require.NoError(t, chromedp.Run(ctx, chromedp.Evaluate(`(() => {
		const faults = [];
		const need = (ok, what) => ok || faults.push(what);
		need(document.documentElement.lang, "language");
		need(document.querySelectorAll("h1").length === 1, "one h1");
		for (const name of ["header", "main", "footer"]) need(document.querySelector(name), name);
		for (const i of document.querySelectorAll("input")) need(i.labels.length, "label of " + i.id);
		for (const s of document.querySelectorAll("svg")) need(s.getAttribute("role") === "img" && s.getAttribute("aria-label"), "text of " + s.id);
		for (const th of document.querySelectorAll("th")) need(th.scope, "scope of " + th.textContent);
		for (const s of document.querySelectorAll("section")) need(document.getElementById(s.getAttribute("aria-labelledby")), "name of a section");
		const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
		const light = (c) => { const [r, g, b] = c.match(/\d+/g).map(Number).map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
		const ground = light(getComputedStyle(document.body).backgroundColor);
		for (const what of ["body", "header p", "#health", ".note", "th", "a", "figcaption"]) {
			const l = light(getComputedStyle(document.querySelector(what)).color);
			need((Math.max(l, ground) + 0.05) / (Math.min(l, ground) + 0.05) >= 4.5, "contrast of " + what);
		}
		return faults;
	})()`, &faults)))
	require.Empty(t, faults)
}

// pictures takes one in light, in dark and of a phone, where they are asked for.
func pictures(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		require.NoError(t, chromedp.Run(ctx, emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}})))
		accessible(t, ctx)
		picture(t, ctx, scheme)
	}
	if os.Getenv("PENSTOCK_SCREENSHOTS") != "" {
		require.NoError(t, chromedp.Run(ctx, chromedp.Emulate(device.IPhone12)))
		picture(t, ctx, "phone")
	}
}

func picture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("PENSTOCK_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	require.NoError(t, chromedp.Run(ctx, chromedp.Sleep(25*time.Second), chromedp.FullScreenshot(&png, 100))) // of some points
	require.NoError(t, os.MkdirAll(dir, 0o750))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "page-"+name+".png"), png, 0o600))
}
