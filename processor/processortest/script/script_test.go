package script_test

import (
	"testing"
	"time"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/processortest/script"
	"github.com/penstock/penstock/processor/session"
)

func TestTheSessionWindowByScript(t *testing.T) {
	script.Run(t, "testdata/session", func() *processor.App {
		return session.Window(session.Config{ID: "app", Input: "in", Output: "out", Format: session.TransactionCSV(), Idle: 30 * time.Minute})
	})
}

func TestARekeyedInputByScript(t *testing.T) {
	script.Run(t, "testdata/rekeyed", func() *processor.App {
		return session.Window(session.Config{ID: "app", Input: "in", Output: "out", Format: session.TransactionCSV(), Repartition: true})
	})
}
