package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

func (p *program) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write a manual page for each command", Example: "  penstock man /usr/local/share/man/man1", Args: cobra.ExactArgs(1),
		Long: "Man writes penstock.1 and a page for each command, penstock-run.1 and so on, into a directory, which is made if need be.",
		RunE: p.verb(func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil { // #nosec G301 -- manual pages are for all to read
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			return doc.GenManTree(root, &doc.GenManHeader{Title: "PENSTOCK", Section: "1", Source: versionText(), Manual: "Penstock"}, args[0])
		}),
	}
}
