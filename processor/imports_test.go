package processor_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/penstock/penstock/"

// TestImportsPointOneWay holds the layout: each package, and what it may not reach.
func TestImportsPointOneWay(t *testing.T) {
	const (
		client = "github.com/twmb/franz-go/pkg/kgo"
		admin  = "github.com/twmb/franz-go/pkg/kadm"
		pebble = "github.com/cockroachdb/pebble/v2"

		avro     = "github.com/twmb/avro"
		protobuf = "google.golang.org/protobuf/proto"
		registry = "github.com/twmb/franz-go/pkg/sr"
	)
	for pkg, never := range map[string][]string{
		"codec":                       {client, admin, pebble, avro, protobuf, registry, module + "statestore", module + "processor"},
		"codec/registry":              {client, admin, pebble, avro, module + "statestore", module + "processor"},
		"statestore":                  {client, admin, pebble, module + "codec", module + "processor"},
		"statestore/pebblestore":      {client, admin, module + "processor"},
		"processor":                   {avro, registry, client, admin, pebble, module + "statestore", module + "processor/internal/task"},
		"processor/session":           {client, admin, pebble, module + "statestore", module + "processor/engine", module + "processor/internal/task"},
		"processor/session/audit":     {pebble, module + "processor/engine", module + "processor/internal/task"},
		"processor/processortest":     {client, admin, pebble, module + "processor/engine", module + "processor/internal/worker"},
		"processor/internal/topology": {client, admin, pebble, module + "codec"},
		"processor/internal/task":     {client, admin, pebble, module + "processor/internal/broker", module + "processor/internal/worker"},
		"processor/internal/broker":   {pebble, module + "processor/internal/task", module + "statestore"},
		"processor/internal/worker":   {pebble, module + "processor/internal/member", module + "processor/engine"},
		"processor/internal/query":    {pebble, module + "processor/engine"},
		"processor/internal/member":   {pebble, module + "processor/internal/task", module + "processor/internal/worker", module + "statestore"},
	} {
		deps := imports(t, pkg, "-deps")
		for _, n := range never {
			require.NotContains(t, deps, n, "package %s", pkg)
		}
	}
	for _, pkg := range strings.Fields(list(t, "./...", "{{.ImportPath}}")) {
		if pkg == module+"processor/internal/broker" {
			continue
		}
		direct := strings.Fields(list(t, pkg, `{{join .Imports "\n"}}`))
		require.NotContains(t, direct, client, "package %s: only internal/broker imports the client", pkg)
		require.NotContains(t, direct, admin, "package %s: only internal/broker imports the client", pkg)
	}
}

// The vocabulary stays small enough to be read at once.
func TestThePackagesPageFitsOnTwoScreens(t *testing.T) {
	out, err := exec.Command("go", "doc", module+"processor").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Less(t, strings.Count(string(out), "\n"), 2*50)
}

func imports(t *testing.T, pkg string, flags ...string) []string {
	t.Helper()
	return strings.Fields(list(t, module+pkg, "{{.ImportPath}}", flags...))
}

func list(t *testing.T, pkg, format string, flags ...string) string {
	t.Helper()
	out, err := exec.Command("go", append(append([]string{"list"}, flags...), "-f", format, pkg)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}
