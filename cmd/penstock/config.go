package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/penstock/penstock/cmd/penstock/internal/settings"
)

const configExample = `  penstock config
  penstock config --config /etc/penstock.yaml --workers 4
  penstock config tail`

func (p *program) configCommand() *cobra.Command {
	f := &serviceFlags{}
	var asJSON bool
	cmd := &cobra.Command{
		Use: "config [COMMAND]", Short: "Show the configuration in force and where each value comes from", Example: configExample,
		Long: `Config shows the settings of run, or of another command, as that command would see them: the value, and whether a flag, a
variable, the file or the default gave it. Secrets are hidden. The settings of run are checked as well.`,
		Args: cobra.MaximumNArgs(1), ValidArgs: []string{"run", "produce", "tail", "audit", "demo", "deposits"},
	}
	f.declare(cmd)
	own(cmd, func(fs *pflag.FlagSet) { fs.BoolVar(&asJSON, "json", false, "as JSON") })
	cmd.RunE = p.verb(func(cmd *cobra.Command, args []string) error {
		all := p.settings
		if len(args) == 1 && args[0] != "run" {
			other, _, err := cmd.Root().Find(args)
			if err != nil || other == cmd.Root() {
				return usage(fmt.Errorf("unknown command %q", args[0]))
			}
			other.InheritedFlags() // merges the root's, --config among them
			if all, err = settings.Load(other, p.environ); err != nil {
				return usage(err)
			}
		}
		if err := p.printSettings(all, asJSON); err != nil {
			return err
		}
		_, _, err := f.configure()
		return usage(err)
	})
	return cmd
}

// printSettings leaves out those of config itself.
func (p *program) printSettings(all []settings.Setting, asJSON bool) error {
	shown := []settings.Setting{}
	for _, s := range all {
		if s.Key != "config.json" {
			shown = append(shown, s)
		}
	}
	if asJSON {
		e := json.NewEncoder(p.stdout)
		e.SetIndent("", "  ")
		return e.Encode(shown)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tVALUE\tFROM")
	for _, s := range shown {
		fmt.Fprintf(w, "%s\t%s\t%s\n", s.Key, s.Value, s.Source)
	}
	return errors.Join(w.Flush())
}
