package processor_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewriteAPI = flag.Bool("rewrite-api", false, "write api.txt anew")

// TestTheAPIIsTheReviewedOne compares what the public packages export with api.txt, one line a name, so that no change of it
// goes unseen. `make api` writes the file anew: its difference is what is to be reviewed.
func TestTheAPIIsTheReviewedOne(t *testing.T) {
	const file = "api.txt"
	have := strings.Join(exported(t), "\n") + "\n"
	if *rewriteAPI {
		require.NoError(t, os.WriteFile(file, []byte(have), 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), have, "the exported API is not that of processor/api.txt: run make api, and review the difference")
}

// exported lists every exported name of the module's public packages.
func exported(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-export", "-json=ImportPath,Export,Name", module+"codec/...", module+"statestore/...", module+"processor/...")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	require.NoError(t, err, "%s", &errs)
	files := map[string]string{}
	var public []string
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Export, Name string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		files[p.ImportPath] = p.Export
		inside, ours := strings.CutPrefix(p.ImportPath, module)
		if ours && p.Name != "main" && !strings.Contains(inside, "internal/") {
			public = append(public, p.ImportPath)
		}
	}
	slices.Sort(public)
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(filepath.Clean(files[path])) })
	var lines []string
	for _, path := range public {
		pkg, err := imp.Import(path)
		require.NoError(t, err)
		lines = append(lines, namesOf(pkg)...)
	}
	return lines
}

func namesOf(pkg *types.Package) (lines []string) {
	from := strings.TrimPrefix(pkg.Path(), module)
	short := func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Name()
	}
	add := func(format string, args ...any) {
		lines = append(lines, from+": "+fmt.Sprintf(format, args...))
	}
	for _, name := range pkg.Scope().Names() {
		o := pkg.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		tn, isType := o.(*types.TypeName)
		if !isType {
			if c, ok := o.(*types.Const); ok {
				add("%s = %s", types.ObjectString(c, short), c.Val())
			} else {
				add("%s", types.ObjectString(o, short))
			}
			continue
		}
		line := types.ObjectString(o, short)
		if s, ok := o.Type().Underlying().(*types.Struct); ok {
			line, _, _ = strings.Cut(line, " struct{")
			if !strings.Contains(line, " = ") {
				line += " struct"
			}
			add("%s", line)
			for f := range s.Fields() {
				if f.Exported() {
					add("type %s: field %s %s", name, f.Name(), types.TypeString(f.Type(), short))
				}
			}
		} else {
			add("%s", line)
		}
		if types.IsInterface(tn.Type()) {
			continue
		}
		set := types.NewMethodSet(types.NewPointer(tn.Type()))
		for m := range set.Methods() {
			if m.Obj().Exported() {
				add("%s", types.ObjectString(m.Obj(), short))
			}
		}
	}
	return lines
}
