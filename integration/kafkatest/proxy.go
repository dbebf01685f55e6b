package kafkatest

import (
	"context"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy is another way to a broker, which can be cut while the broker's own address works on. Its clients are told to come
// back through it.
type Proxy struct {
	t testing.TB
	p *toxiproxy.Proxy
}

func startProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "broker", loopback+":0", upstream)
	if err := p.Start(); err != nil {
		t.Fatalf("start a proxy: %v", err)
	}
	t.Cleanup(p.Stop)
	return &Proxy{t, p}
}

// Addr is host:port of the proxy.
func (p *Proxy) Addr() string { return p.p.Listen }

// Silence lets nothing through any more, in either direction: connections stay open and nobody is told.
func (p *Proxy) Silence() {
	p.t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		p.add(`{"name":"` + direction + `","type":"timeout","stream":"` + direction + `","attributes":{"timeout":0}}`)
	}
}

// Deafen lets requests through and no answer: what was asked for is done, and the asker does not know.
func (p *Proxy) Deafen() {
	p.t.Helper()
	p.add(`{"name":"downstream","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
}

// Reset ends connections as soon as they are used.
func (p *Proxy) Reset() {
	p.t.Helper()
	p.add(`{"name":"upstream","type":"reset_peer","stream":"upstream","attributes":{"timeout":0}}`)
}

func (p *Proxy) add(toxic string) {
	p.t.Helper()
	if _, err := p.p.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
		p.t.Fatalf("proxy: %v", err)
	}
}

// Heal ends what was begun; connections that suffered from it are closed.
func (p *Proxy) Heal() { p.p.Toxics.ResetToxics(context.Background()) }
