// Schemas writes the JSON schemas by which kubeconform judges, from what Kubernetes and the Prometheus operator publish
// in their modules: each kind of an OpenAPI document (swagger.json) and of custom resource definitions (YAML), in a file
// KIND[-GROUP]-VERSION.json. An object that names its fields takes no others, as with kubeconform's own strict schemas.
//
//	go run . DIR FILE...
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"strings"

	extensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) < 3 {
		log.Fatal("usage: schemas DIR FILE...")
	}
	for _, file := range os.Args[2:] {
		if err := convert(os.Args[1], file); err != nil {
			log.Fatalf("%s: %v", file, err)
		}
	}
}

// object is a JSON object.
type object = map[string]any

func convert(dir, file string) error {
	raw, err := os.ReadFile(file) // #nosec G703 -- named by who calls this
	if err != nil {
		return err
	}
	if filepath.Ext(file) == ".json" {
		return kinds(dir, raw)
	}
	return custom(dir, raw)
}

// kinds writes those of an OpenAPI document, each with the definitions that it refers to.
func kinds(dir string, raw []byte) error {
	var document struct{ Definitions map[string]object }
	if err := json.Unmarshal(raw, &document); err != nil {
		return err
	}
	defs := document.Definitions
	for _, d := range defs {
		strict(d)
	}
	defs["io.k8s.apimachinery.pkg.api.resource.Quantity"] = object{"type": []string{"string", "number"}}
	for name, d := range defs {
		ids, _ := d["x-kubernetes-group-version-kind"].([]any)
		if len(ids) != 1 {
			continue // no kind, or one that stands in every group
		}
		id := ids[0].(object)
		used := map[string]object{}
		reach(defs, name, used)
		schema := object{"$ref": "#/definitions/" + name, "definitions": used}
		if err := write(dir, id["kind"].(string), id["group"].(string), id["version"].(string), schema); err != nil {
			return err
		}
	}
	return nil
}

// reach adds a definition and all that it refers to.
func reach(defs map[string]object, name string, used map[string]object) {
	if _, ok := used[name]; ok {
		return
	}
	used[name] = defs[name]
	each(defs[name], func(o object) {
		if ref, ok := o["$ref"].(string); ok {
			reach(defs, strings.TrimPrefix(ref, "#/definitions/"), used)
		}
	})
}

// custom writes the versions of a custom resource definition.
func custom(dir string, raw []byte) error {
	var crd extensions.CustomResourceDefinition
	if err := yaml.Unmarshal(raw, &crd); err != nil {
		return err
	}
	for _, v := range crd.Spec.Versions {
		b, err := json.Marshal(v.Schema.OpenAPIV3Schema)
		if err != nil {
			return err
		}
		var schema object
		if err := json.Unmarshal(b, &schema); err != nil {
			return err
		}
		strict(schema)
		if err := write(dir, crd.Spec.Names.Kind, crd.Spec.Group, v.Name, schema); err != nil {
			return err
		}
	}
	return nil
}

// strict turns what only Kubernetes understands into JSON schema, and closes the objects that name their fields.
func strict(schema object) {
	each(schema, func(o object) {
		if o["format"] == "int-or-string" || o["x-kubernetes-int-or-string"] == true {
			delete(o, "format")
			o["type"] = []string{"string", "integer"}
		}
		if _, ok := o["properties"].(object); ok && o["type"] == "object" && o["additionalProperties"] == nil && o["x-kubernetes-preserve-unknown-fields"] != true {
			o["additionalProperties"] = false
		}
	})
}

// each calls f with a JSON value's objects, itself first.
func each(v any, f func(object)) {
	switch v := v.(type) {
	case object:
		f(v)
		for inner := range maps.Values(v) {
			each(inner, f)
		}
	case []any:
		for _, inner := range v {
			each(inner, f)
		}
	}
}

func write(dir, kind, group, version string, schema object) error {
	parts := []string{kind, version}
	if group, _, _ = strings.Cut(group, "."); group != "" {
		parts = []string{kind, group, version}
	}
	b, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s.json", strings.ToLower(strings.Join(parts, "-")))), b, 0o600)
}
