// Manifests decodes Kubernetes manifests into Kubernetes' own types, where an unknown or misplaced field is an error, and
// finds what the API server would refuse or what would never match: selectors, ports, volumes.
//
//	go run . FILE...
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func main() {
	failed := len(os.Args) < 2
	for _, file := range os.Args[1:] {
		n, err := check(file)
		if err != nil {
			failed = true
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			continue
		}
		fmt.Printf("%s: %d objects ok\n", file, n)
	}
	if failed {
		os.Exit(1)
	}
}

// objects are those of one file.
type objects struct {
	set     apps.StatefulSet
	copies  []apps.Deployment
	service core.Service
	budgets []policy.PodDisruptionBudget
	monitor monitoring.PodMonitor
	names   map[string]bool // kind and name
}

func check(file string) (int, error) {
	raw, err := os.ReadFile(file) // #nosec G703 -- named by who calls this
	if err != nil {
		return 0, err
	}
	all := objects{names: map[string]bool{}}
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = all.add(doc)
		}
		if err != nil {
			return 0, err
		}
	}
	return len(all.names), all.check()
}

// add decodes one object.
func (o *objects) add(doc []byte) error {
	var head struct {
		meta.TypeMeta
		meta.ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(doc, &head); err != nil {
		return err
	}
	if head.Kind == "" {
		return nil // a comment
	}
	what := head.APIVersion + " " + head.Kind + " " + head.Name
	if o.names[what] {
		return fmt.Errorf("%s: twice", what)
	}
	o.names[what] = true
	if faults := validation.IsDNS1123Label(head.Name); len(faults) > 0 {
		return fmt.Errorf("%s: %v", what, faults)
	}
	into := map[string]any{
		"apps/v1 StatefulSet": &o.set, "apps/v1 Deployment": &apps.Deployment{}, "v1 Service": &o.service, "v1 ConfigMap": &core.ConfigMap{}, "v1 ServiceAccount": &core.ServiceAccount{},
		"policy/v1 PodDisruptionBudget": &policy.PodDisruptionBudget{}, "monitoring.coreos.com/v1 ServiceMonitor": &monitoring.ServiceMonitor{},
		"monitoring.coreos.com/v1 PodMonitor": &o.monitor,
	}[head.APIVersion+" "+head.Kind]
	if into == nil {
		return fmt.Errorf("%s: no such kind is known here", what)
	}
	if err := yaml.UnmarshalStrict(doc, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch v := into.(type) {
	case *policy.PodDisruptionBudget:
		o.budgets = append(o.budgets, *v)
	case *apps.Deployment:
		o.copies = append(o.copies, *v)
	}
	return nil
}

// check holds the objects against each other.
func (o *objects) check() error {
	var faults []error
	bad := func(when bool, format string, args ...any) {
		if when {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	pod := o.set.Spec.Template
	selects := func(s *meta.LabelSelector) bool { return matches(s, pod) }
	bad(o.set.Name == "", "no StatefulSet")
	bad(!selects(o.set.Spec.Selector), "the StatefulSet does not select its own pods")
	bad(o.set.Spec.ServiceName != o.service.Name, "the StatefulSet's service is %q, not %q", o.set.Spec.ServiceName, o.service.Name)
	bad(!labels.SelectorFromSet(o.service.Spec.Selector).Matches(labels.Set(pod.Labels)), "the Service does not select the pods")
	for _, b := range o.budgets {
		bad(!o.selectsOne(b.Spec.Selector), "the PodDisruptionBudget %s does not select the pods of one workload", b.Name)
	}
	bad(o.monitor.Name != "" && !o.selectsOne(&o.monitor.Spec.Selector), "the PodMonitor does not select the pods of one workload")
	if a := pod.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		for _, t := range a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			bad(!selects(t.LabelSelector), "the anti-affinity does not select the pods")
		}
		for _, t := range a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
			bad(!selects(t.PodAffinityTerm.LabelSelector), "the anti-affinity does not select the pods")
		}
	}
	claims := map[string]bool{}
	for _, c := range o.set.Spec.VolumeClaimTemplates {
		claims[c.Name] = true
	}
	o.checkPod(pod, claims, bad)
	for _, c := range pod.Spec.Containers {
		for _, p := range o.service.Spec.Ports {
			bad(!portsOf(c)[p.TargetPort.StrVal], "the Service's port %s is none of container %s", p.Name, c.Name)
		}
	}
	for _, d := range o.copies {
		bad(!matches(d.Spec.Selector, d.Spec.Template), "the Deployment %s does not select its own pods", d.Name)
		bad(selects(d.Spec.Selector), "the Deployment %s selects the StatefulSet's pods", d.Name)
		own, err := meta.LabelSelectorAsSelector(o.set.Spec.Selector)
		bad(err != nil || own.Matches(labels.Set(d.Spec.Template.Labels)), "the StatefulSet selects the pods of the Deployment %s", d.Name)
		bad(labels.SelectorFromSet(o.service.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels)), "the Service selects the pods of the Deployment %s", d.Name)
		o.checkPod(d.Spec.Template, map[string]bool{}, bad)
	}
	return errors.Join(faults...)
}

// selectsOne says whether a selector takes the pods of the StatefulSet or of a Deployment, and no others.
func (o *objects) selectsOne(s *meta.LabelSelector) bool {
	pods := []core.PodTemplateSpec{o.set.Spec.Template}
	for _, d := range o.copies {
		pods = append(pods, d.Spec.Template)
	}
	n := 0
	for _, pod := range pods {
		if matches(s, pod) {
			n++
		}
	}
	return n == 1
}

// matches says whether a selector that is not empty takes a pod.
func matches(s *meta.LabelSelector, pod core.PodTemplateSpec) bool {
	selector, err := meta.LabelSelectorAsSelector(s)
	return err == nil && !selector.Empty() && selector.Matches(labels.Set(pod.Labels))
}

// checkPod holds a pod's containers against its volumes, those of its claims among them, and its ports.
func (o *objects) checkPod(pod core.PodTemplateSpec, volumes map[string]bool, bad func(bool, string, ...any)) {
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
		bad(v.ConfigMap != nil && !o.names["v1 ConfigMap "+v.ConfigMap.Name], "volume %s: no ConfigMap %s", v.Name, v.ConfigMap.DeepCopy())
	}
	for _, c := range pod.Spec.Containers {
		for _, m := range c.VolumeMounts {
			bad(!volumes[m.Name], "container %s mounts %s, which is no volume", c.Name, m.Name)
		}
		for _, p := range []*core.Probe{c.LivenessProbe, c.ReadinessProbe} {
			bad(p == nil || p.HTTPGet == nil || !portsOf(c)[p.HTTPGet.Port.StrVal], "container %s has a probe of no port", c.Name)
		}
	}
}

func portsOf(c core.Container) map[string]bool {
	names := map[string]bool{}
	for _, p := range c.Ports {
		names[p.Name] = true
	}
	return names
}
