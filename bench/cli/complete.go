package cli

import (
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/bench/exit"
	"hangbench/results"
	"hangbench/scenarios"
	"hangbench/scenarios/suites"
)

// shells are the shells for which there is a completion script.
var shells = []string{"bash", "zsh", "fish"}

// completionCommand returns the command that prints a shell's completion script.
func (a *app) completionCommand() *cobra.Command {
	c := a.command("completion SHELL", "print a script that completes commands, suites, scenarios, mechanisms and runs",
		"Print a script with which a shell completes hangbench's commands, flags, suites, scenarios, mechanisms and run "+
			"folders. SHELL is bash, zsh or fish. For this bash only: source <(hangbench completion bash)", 1, 1)
	c.ValidArgs = shells
	c.ValidArgsFunction = nil
	c.RunE = func(c *cobra.Command, args []string) error {
		switch root := c.Root(); args[0] {
		case "bash":
			return root.GenBashCompletionV2(a.out, true)
		case "zsh":
			return root.GenZshCompletion(a.out)
		case "fish":
			return root.GenFishCompletion(a.out, true)
		}
		return exit.Usagef("completion: there are %s, not %q", strings.Join(shells, ", "), args[0])
	}
	return c
}

// completer completes an argument or the value of a flag.
type completer = cobra.CompletionFunc

// completeFlag makes the shell complete the values of a flag, which c must have.
func completeFlag(c *cobra.Command, flag string, with completer) {
	if err := c.RegisterFlagCompletionFunc(flag, with); err != nil {
		panic(err) // a flag that the command does not have: a mistake of this program
	}
}

// choices completes with one of the names. A description may follow a name after
// a tab.
func choices(names ...string) completer {
	return cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
}

// lists completes a list of names separated by commas.
func lists(names ...string) completer {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndexByte(typed, ',')+1]
		var all []string
		for _, name := range names {
			all = append(all, before+name)
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// once completes the first argument only.
func once(with completer) completer {
	return func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return with(c, args, typed)
	}
}

// folders makes the shell complete a folder.
func folders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// files makes the shell complete a file.
func files(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeSuites completes with the built-in suites. The shell completes files.
func completeSuites(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, name := range suites.Builtin() {
		if s, err := suites.Load(name, vocabulary()); err == nil {
			all = append(all, name+"\t"+s.Description)
		}
	}
	return all, cobra.ShellCompDirectiveDefault
}

// completeScenarios completes with the scenarios.
func completeScenarios(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var all []string
	for _, s := range scenarios.All() {
		all = append(all, s.ID+"\t"+s.Summary)
	}
	return all, cobra.ShellCompDirectiveDefault
}

// runFolders are the folders of runs if the user names no other.
var runFolders = []string{filepath.Join("results", "runs"), filepath.Join("results", "reference")}

// completeRuns completes with the folders of runs: those in runFolders, and those that
// begin with the typed path.
func completeRuns(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	var patterns []string
	for _, dir := range runFolders {
		patterns = append(patterns, filepath.Join(dir, "*", results.ManifestFile))
	}
	if typed != "" {
		patterns = append(patterns, typed+"*/"+results.ManifestFile, typed+"*/*/"+results.ManifestFile)
	}
	seen := map[string]bool{}
	var all []string
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			continue // the typed path is no pattern
		}
		for _, f := range found {
			if dir := filepath.Dir(f); !seen[dir] {
				seen[dir] = true
				all = append(all, dir)
			}
		}
	}
	return all, cobra.ShellCompDirectiveFilterDirs
}
