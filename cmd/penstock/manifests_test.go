package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
	"github.com/stretchr/testify/require"
)

// What Kubernetes is told fits what the program does: its bounds, its rights, its configuration. PENSTOCK_TEST_MANIFESTS
// names a directory of rendered manifests to check beside those that stand in deploy/kubernetes/base.
func TestManifestsFitTheProgram(t *testing.T) {
	roots := []string{"../../deploy/kubernetes/base", "../../deploy/kubernetes/deposits"}
	if rendered := os.Getenv("PENSTOCK_TEST_MANIFESTS"); rendered != "" {
		roots = append(roots, rendered)
	}
	services, deposits := 0, 0
	for _, root := range roots {
		require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
				return err
			}
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			for _, doc := range strings.Split("\n"+string(raw), "\n---\n") {
				values, err := yaml.Parser().Unmarshal([]byte(doc))
				require.NoError(t, err, path)
				k := koanf.New(".")
				require.NoError(t, k.Load(parsed(values), nil))
				switch k.String("kind") {
				case "StatefulSet":
					services++
					t.Run(filepath.Base(path), func(t *testing.T) { fitsTheProgram(t, k) })
				case "Deployment":
					deposits++
					t.Run(filepath.Base(path), func(t *testing.T) { podFits(t, k) })
				case "ConfigMap":
					text, ok := values["data"].(map[string]any)["penstock.yaml"].(string)
					require.True(t, ok, path)
					validConfig(t, path, text)
				}
			}
			return nil
		}))
	}
	require.GreaterOrEqual(t, services, len(roots)-1)
	require.GreaterOrEqual(t, deposits, len(roots)-1)
}

// parsed is a koanf.Provider of what has been parsed already.
type parsed map[string]any

func (p parsed) Read() (map[string]any, error) { return p, nil }
func (p parsed) ReadBytes() ([]byte, error)    { return nil, os.ErrInvalid }

// Bounds of the program that a manifest must leave room for.
const (
	stopsWithin = 10 * time.Second // SIGTERM to the end
	stuckAfter  = 2 * time.Minute  // until /livez says so
)

func fitsTheProgram(t *testing.T, set *koanf.Koanf) {
	c := podFits(t, set)
	require.Equal(t, "RollingUpdate", set.String("spec.updateStrategy.type"))
	require.Contains(t, c.Strings("args"), "--instance=$(POD_NAME)", "a pod must keep its name in the group")
	mounted := map[string]bool{}
	for _, m := range c.Slices("volumeMounts") {
		mounted[m.String("mountPath")] = true
	}
	require.True(t, mounted["/var/lib/penstock"])
	require.Len(t, set.Slices("spec.volumeClaimTemplates"), 1)
}

// podFits checks what holds of each process, and returns its container.
func podFits(t *testing.T, set *koanf.Koanf) *koanf.Koanf {
	pod := set.Cut("spec.template.spec")
	grace := time.Duration(pod.Int("terminationGracePeriodSeconds")) * time.Second
	require.GreaterOrEqual(t, grace, 2*stopsWithin, "a stop is cut short")
	require.True(t, pod.Bool("securityContext.runAsNonRoot"))
	require.False(t, pod.Bool("automountServiceAccountToken"))
	require.True(t, pod.Exists("automountServiceAccountToken"))

	containers := pod.Slices("containers")
	require.Len(t, containers, 1)
	c := containers[0]
	require.True(t, c.Bool("securityContext.readOnlyRootFilesystem"))
	require.False(t, c.Bool("securityContext.allowPrivilegeEscalation"))
	require.Equal(t, []string{"ALL"}, c.Strings("securityContext.capabilities.drop"))

	require.Equal(t, "/livez", c.String("livenessProbe.httpGet.path"))
	dead := time.Duration(c.Int("livenessProbe.periodSeconds")*c.Int("livenessProbe.failureThreshold")) * time.Second
	require.GreaterOrEqual(t, dead, 30*time.Second, "a pause of the machine is no reason for a restart")
	require.LessOrEqual(t, dead, stuckAfter, "a stuck process is kept for too long")
	require.Equal(t, "/readyz", c.String("readinessProbe.httpGet.path"))
	require.LessOrEqual(t, c.Int("readinessProbe.periodSeconds"), 5, "an update waits for it at each pod")
	require.Equal(t, c.String("livenessProbe.httpGet.scheme"), c.String("readinessProbe.httpGet.scheme"))
	return c
}
