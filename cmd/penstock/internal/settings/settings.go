// Package settings layers a command's configuration: flags go before PENSTOCK_ variables, these before a YAML file, this
// before the defaults. What no command knows is an error that names the nearest known one.
//
// A setting that several commands share has its flag's name as its key (brokers, PENSTOCK_BROKERS). One that belongs to
// a command alone stands under the command's name (tail.from, PENSTOCK_TAIL_FROM).
package settings

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// ConfigFlag is the flag that names the YAML file; ConfigVariable is its variable.
const (
	ConfigFlag     = "config"
	ConfigVariable = prefix + "CONFIG"
	prefix         = "PENSTOCK_"
)

// Annotations of a flag.
const (
	keyAnnotation    = "penstock.key"
	secretAnnotation = "penstock.secret"
)

// Key gives a flag the key by which it is found in variables and file.
func Key(fs *pflag.FlagSet, name, key string) { annotate(fs, name, keyAnnotation, key) }

// Secret hides a flag's value in [Setting].
func Secret(fs *pflag.FlagSet, name string) { annotate(fs, name, secretAnnotation, "true") }

func annotate(fs *pflag.FlagSet, name, annotation, value string) {
	if err := fs.SetAnnotation(name, annotation, []string{value}); err != nil {
		panic(err) // a flag that was not declared
	}
}

// Own puts all flags of fs that have no key yet under a command's name.
func Own(fs *pflag.FlagSet, command string) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[keyAnnotation] == nil {
			Key(fs, f.Name, command+"."+f.Name)
		}
	})
}

// Shared gives all flags of fs that have no key yet their name as key.
func Shared(fs *pflag.FlagSet) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[keyAnnotation] == nil {
			Key(fs, f.Name, f.Name)
		}
	})
}

func keyOf(f *pflag.Flag) string {
	if k := f.Annotations[keyAnnotation]; k != nil {
		return k[0]
	}
	return ""
}

// Variable is the name of a key's variable.
func Variable(key string) string {
	return prefix + strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToUpper(key))
}

// Setting is one value in force.
type Setting struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Source string `json:"source"` // "flag --x", "variable X", the file's path, or "default"
}

// Load fills those flags of cmd that were not given from the variables in environ and the file, and returns all of them in
// the order of their names. Faults are joined.
func Load(cmd *cobra.Command, environ []string) ([]Setting, error) {
	l, err := read(cmd, environ)
	if err != nil {
		return nil, err
	}
	var settings []Setting
	var faults []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if keyOf(f) == "" {
			return
		}
		s, err := l.settle(f)
		if err != nil {
			faults = append(faults, err)
		}
		settings = append(settings, s)
	})
	return settings, errors.Join(faults...)
}

// layers are what stands outside the command line.
type layers struct {
	variables *koanf.Koanf // by name of the variable
	file      *koanf.Koanf // by key
	path      string
}

func read(cmd *cobra.Command, environ []string) (*layers, error) {
	l := &layers{variables: koanf.New("\x00"), file: koanf.New(".")}
	err := l.variables.Load(env.Provider("\x00", env.Opt{Prefix: prefix, EnvironFunc: func() []string { return environ }}), nil)
	if err != nil {
		return nil, err
	}
	if f := cmd.Flag(ConfigFlag); f != nil && f.Changed {
		l.path = f.Value.String()
	} else {
		l.path = l.variables.String(ConfigVariable)
	}
	if l.path != "" {
		if err := l.file.Load(file.Provider(l.path), yaml.Parser()); err != nil {
			if errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("configuration file %s does not exist", l.path)
			}
			return nil, fmt.Errorf("read configuration file %s: %s", l.path, strings.ReplaceAll(err.Error(), "\n", " "))
		}
	}
	return l, l.checkNames(known(cmd.Root()))
}

// known are the keys of all commands: one file may serve all of them.
func known(root *cobra.Command) map[string]bool {
	keys := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, fs := range []*pflag.FlagSet{c.Flags(), c.PersistentFlags()} {
			fs.VisitAll(func(f *pflag.Flag) {
				if k := keyOf(f); k != "" {
					keys[k] = true
				}
			})
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(root)
	return keys
}

// foreign matches variables that Kubernetes sets for a service named penstock, and those of the tests.
var foreign = regexp.MustCompile(`^PENSTOCK_(SERVICE_(HOST|PORT)|PORT($|_)|TEST_)`)

func (l *layers) checkNames(keys map[string]bool) error {
	names := map[string]bool{ConfigVariable: true}
	for k := range keys {
		names[Variable(k)] = true
	}
	var faults []error
	for _, name := range l.variables.Keys() {
		if !names[name] && !foreign.MatchString(name) {
			faults = append(faults, fmt.Errorf("unknown variable %s%s", name, suggest(name, names)))
		}
	}
	for _, key := range l.file.Keys() {
		if !keys[key] && !(l.file.Get(key) == nil && isSection(key, keys)) {
			faults = append(faults, fmt.Errorf("%s: unknown key %s%s", l.path, key, suggest(key, keys)))
		}
	}
	return errors.Join(faults...)
}

func isSection(key string, keys map[string]bool) bool {
	for k := range keys {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// settle gives a flag its value.
func (l *layers) settle(f *pflag.Flag) (Setting, error) {
	key, source := keyOf(f), "default"
	name := Variable(key)
	var err error
	switch {
	case f.Changed:
		source = "flag --" + f.Name
	case l.variables.String(name) != "": // an empty one is as good as none
		source = "variable " + name
		err = f.Value.Set(l.variables.String(name))
	case l.file.Get(key) != nil:
		source = l.path
		err = f.Value.Set(scalar(l.file.Get(key)))
	}
	if err != nil {
		err = fmt.Errorf("%s: %s: %w", source, key, err)
	}
	return Setting{Key: key, Value: shown(f), Source: source}, err
}

// scalar writes a YAML value as its flag takes it.
func scalar(v any) string {
	list, ok := v.([]any)
	if !ok {
		return fmt.Sprint(v)
	}
	parts := make([]string, len(list))
	for i, e := range list {
		parts[i] = fmt.Sprint(e)
	}
	return strings.Join(parts, ",")
}

func shown(f *pflag.Flag) string {
	v := f.Value.String()
	if f.Annotations[secretAnnotation] != nil && v != "" {
		return "(hidden)"
	}
	if s, ok := f.Value.(pflag.SliceValue); ok {
		return strings.Join(s.GetSlice(), ",")
	}
	return v
}
