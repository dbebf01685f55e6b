package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
			var pods []*koanf.Koanf
			var config string
			for _, doc := range strings.Split("\n"+string(raw), "\n---\n") {
				values, err := yaml.Parser().Unmarshal([]byte(doc))
				require.NoError(t, err, path)
				k := koanf.New(".")
				require.NoError(t, k.Load(parsed(values), nil))
				switch k.String("kind") {
				case "StatefulSet":
					services++
					pods = append(pods, k)
					t.Run(filepath.Base(path), func(t *testing.T) { fitsTheProgram(t, k) })
				case "Deployment":
					deposits++
					pods = append(pods, k)
					t.Run(filepath.Base(path), func(t *testing.T) { depositsFit(t, k) })
				case "ConfigMap":
					text, ok := values["data"].(map[string]any)["penstock.yaml"].(string)
					require.True(t, ok, path)
					validConfig(t, path, text)
					config = text
				}
			}
			for _, pod := range pods {
				hasItsFiles(t, filepath.Base(path), pod, config)
			}
			switch filepath.Base(path) { // what the chart's values switch on
			case "helm-secure.yaml":
				require.Contains(t, config, "http-tls-ca: /etc/penstock-http/ca.crt")
				require.Len(t, pods, 2)
			case "helm-oauth.yaml":
				require.Len(t, pods, 2)
			case "helm-default.yaml":
				require.NotContains(t, config, "http-tls-ca")
				require.Len(t, pods, 1, "the deposits need a database")
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

// depositsFit checks those of penstock deposits: the database's name is a secret, and the probes speak as the program serves.
func depositsFit(t *testing.T, set *koanf.Koanf) {
	c := podFits(t, set)
	args := c.Strings("args")
	require.Equal(t, "deposits", args[0])
	dsn := false
	for _, v := range c.Slices("env") {
		dsn = dsn || v.String("name") == "PENSTOCK_DEPOSITS_POSTGRES" && v.String("valueFrom.secretKeyRef.name") != ""
	}
	require.True(t, dsn, "no database")
	secure := slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--http-tls-cert=") })
	require.Equal(t, secure, c.String("livenessProbe.httpGet.scheme") == "HTTPS")
}

// hasItsFiles checks that a directory which the pod's arguments name, or its configuration for all pods, is mounted.
func hasItsFiles(t *testing.T, name string, set *koanf.Koanf, config string) {
	t.Helper()
	c := set.Slices("spec.template.spec.containers")[0]
	mounted := map[string]bool{}
	for _, m := range c.Slices("volumeMounts") {
		mounted[m.String("mountPath")] = true
	}
	for _, dir := range regexp.MustCompile(`/etc/penstock(-[a-z]+)?`).FindAllString(config+strings.Join(c.Strings("args"), " "), -1) {
		require.True(t, mounted[dir], "%s: %s of %s is not mounted", name, dir, set.String("metadata.name"))
	}
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
