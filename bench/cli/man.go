package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand returns the hidden command that writes the manual pages.
func (a *app) manCommand() *cobra.Command {
	c := a.command("man FOLDER", "write the manual pages", "Write a manual page for each command to a folder.", 1, 1)
	c.Hidden = true
	c.ValidArgsFunction = folders
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := tryFolder("FOLDER", args[0]); err != nil {
			return err
		}
		if err := os.MkdirAll(args[0], 0o755); err != nil {
			return fmt.Errorf("make the folder of the manual pages: %w", err)
		}
		root := c.Root()
		root.DisableAutoGenTag = true // it would date each page
		header := doc.GenManHeader{Title: "HANGBENCH", Section: "1", Source: "hangbench", Manual: "hangbench"}
		if err := doc.GenManTree(root, &header, args[0]); err != nil {
			return fmt.Errorf("write the manual pages: %w", err)
		}
		pages, err := os.ReadDir(args[0])
		if err != nil {
			return fmt.Errorf("write the manual pages: %w", err)
		}
		fmt.Fprintf(a.out, "%d pages in %s\n", len(pages), args[0])
		return nil
	}
	return c
}
