package settings_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/penstock/penstock/cmd/penstock/internal/settings"
)

// values are the flags of a small command tree: root with serve and tail.
type values struct {
	brokers []string
	workers int
	wait    time.Duration
	memory  settings.Size
	from    string
	secret  string
}

func tree(v *values) (root, serve *cobra.Command) {
	root = &cobra.Command{Use: "root"}
	root.PersistentFlags().String(settings.ConfigFlag, "", "")
	serve = &cobra.Command{Use: "serve", Run: func(*cobra.Command, []string) {}}
	fs := serve.Flags()
	v.memory = 64 << 20
	fs.StringSliceVar(&v.brokers, "brokers", []string{"localhost:9092"}, "")
	fs.IntVar(&v.workers, "workers", 2, "")
	fs.DurationVar(&v.wait, "wait", time.Second, "")
	fs.Var(&v.memory, "memory", "")
	settings.Choice(serve, fs, &v.from, "from", []string{"start", "end"}, "where")
	fs.StringVar(&v.secret, "password", "", "")
	settings.Secret(fs, "password")
	settings.Shared(fs)
	tail := &cobra.Command{Use: "tail"}
	tail.Flags().Int("limit", 0, "")
	settings.Own(tail.Flags(), "tail")
	root.AddCommand(serve, tail)
	return root, serve
}

func load(t *testing.T, yaml string, environ []string, args ...string) (*values, map[string]settings.Setting, error) {
	v := &values{}
	_, serve := tree(v)
	serve.InheritedFlags()
	if yaml != "" {
		path := filepath.Join(t.TempDir(), "c.yaml")
		require.NoError(t, os.WriteFile(path, []byte(yaml), 0o600))
		environ = append(environ, "PENSTOCK_CONFIG="+path)
	}
	require.NoError(t, serve.ParseFlags(args))
	list, err := settings.Load(serve, environ)
	all := map[string]settings.Setting{}
	for _, s := range list {
		all[s.Key] = s
	}
	return v, all, err
}

func TestFlagBeforeVariableBeforeFileBeforeDefault(t *testing.T) {
	yaml := "brokers: [f1:1, f2:2]\nworkers: 3\nwait: 3s\nmemory: 32MiB\ntail:\n  limit: 5\n"
	environ := []string{"PENSTOCK_BROKERS=e1:1,e2:2", "PENSTOCK_WORKERS=4", "PENSTOCK_MEMORY=", "OTHER=1"}
	v, all, err := load(t, yaml, environ, "--workers=5")
	require.NoError(t, err)
	require.Equal(t, &values{brokers: []string{"e1:1", "e2:2"}, workers: 5, wait: 3 * time.Second, memory: 32 << 20, from: "start"}, v)
	require.Equal(t, settings.Setting{Key: "workers", Value: "5", Source: "flag --workers"}, all["workers"])
	require.Equal(t, settings.Setting{Key: "brokers", Value: "e1:1,e2:2", Source: "variable PENSTOCK_BROKERS"}, all["brokers"])
	require.Contains(t, all["wait"].Source, "c.yaml")
	require.Equal(t, "32MiB", all["memory"].Value)
	require.Equal(t, settings.Setting{Key: "from", Value: "start", Source: "default"}, all["from"])
	require.NotContains(t, all, "tail.limit")
}

func TestSecretsAreHidden(t *testing.T) {
	v, all, err := load(t, "", []string{"PENSTOCK_PASSWORD=geheim"})
	require.NoError(t, err)
	require.Equal(t, "geheim", v.secret)
	require.Equal(t, "(hidden)", all["password"].Value)
}

func TestFaultsNameTheirPlace(t *testing.T) {
	for _, c := range []struct {
		name, yaml string
		environ    []string
		want       []string
	}{
		{"unknown key", "worker: 3", nil, []string{"unknown key worker: did you mean workers?"}},
		{"unknown key of a section", "tail: {limits: 3}", nil, []string{"unknown key tail.limits: did you mean tail.limit?"}},
		{"empty section", "tail:\n", nil, nil},
		{"null value", "workers:\n", nil, nil},
		{"nothing near", "zzzzzzzz: 3", nil, []string{"unknown key zzzzzzzz"}},
		{"wrong type", "workers: many", nil, []string{"c.yaml: workers: "}},
		{"not YAML", "workers: [", nil, []string{"read configuration file"}},
		{"twice", "workers: 1\nworkers: 2", nil, []string{"read configuration file"}},
		{"all at once", "worker: 3\nbrokes: x", []string{"PENSTOCK_WAITS=1s"}, []string{"worker:", "brokes:", "PENSTOCK_WAITS: did you mean PENSTOCK_WAIT?"}},
		{"variable of a section", "", []string{"PENSTOCK_TAIL_LIMIT=x"}, nil}, // another command's
		{"variables of Kubernetes", "", []string{"PENSTOCK_SERVICE_HOST=x", "PENSTOCK_PORT=tcp://x", "PENSTOCK_PORT_8080_TCP=x"}, nil},
		{"bad word", "", []string{"PENSTOCK_FROM=middle"}, []string{`variable PENSTOCK_FROM: from: "middle" is none of start, end`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := load(t, c.yaml, c.environ)
			if c.want == nil {
				require.NoError(t, err)
				return
			}
			for _, want := range c.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]settings.Size{
		"0": 0, "1024": 1024, "64MiB": 64 << 20, "1.5GiB": 3 << 29, "10 kB": 10_000, "2M": 2 << 20, "7B": 7,
	} {
		var s settings.Size
		require.NoError(t, s.Set(text), text)
		require.Equal(t, want, s, text)
		again := settings.Size(-1)
		require.NoError(t, again.Set(s.String()))
		require.Equal(t, s, again)
	}
	for _, text := range []string{"", "MiB", "-1", "1TiB2", "NaN", "1e30", "Inf", "0x10MiBx"} {
		var s settings.Size
		require.Error(t, s.Set(text), text)
	}
	var _ pflag.Value = new(settings.Size)
}
