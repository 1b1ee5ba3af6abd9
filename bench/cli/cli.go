package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"hangbench/bench/exit"
	"hangbench/bench/oldflag"
	"hangbench/bench/progress"
	"hangbench/bench/run"
	"hangbench/guests/lab"
	"hangbench/guests/lab/debian"
	"hangbench/results/printable"
	"hangbench/scenarios/suites"
)

// Env is the environment of a call of the program.
type Env struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	Terminal       bool // Stderr is a terminal that can wipe a line
	// Width returns the number of its columns, 0 if it is not known. Nil: not known.
	Width func() int
	Now   func() time.Time
}

// ProcessEnv returns the environment of this process.
func ProcessEnv() *Env {
	stderr := int(os.Stderr.Fd())
	return &Env{
		Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv, Now: time.Now,
		Terminal: term.IsTerminal(stderr) && os.Getenv("TERM") != "dumb",
		Width: func() int {
			columns, _, err := term.GetSize(stderr)
			if err != nil {
				return 0
			}
			return columns
		},
	}
}

// app is a call of the program.
type app struct {
	*Env
	args    []string // the whole command line
	out     *output
	verbose bool
	cache   lab.Cache // once the lab is used
	// unhelped is the error of a call for help that names no command: cobra gives none.
	unhelped error

	display *progress.Display
	file    progress.File // the log file, once a run has a folder
	warned  progress.Warnings
	log     *slog.Logger
}

// Main runs the command line and returns the exit status.
func Main(ctx context.Context, env *Env, args []string) int {
	a, root := newApp(env, args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.unhelped
	}
	err = a.explainEnd(ctx, err)
	a.display.End()
	switch {
	case a.out.err == nil || errors.Is(err, a.out.err):
	case errors.Is(err, exit.ErrFailed): // nobody could read why
		err = a.out.err
	default:
		err = errors.Join(err, a.out.err)
	}
	err = errors.Join(err, a.file.Close())
	if err != nil && !errors.Is(err, exit.ErrFailed) {
		fmt.Fprintf(env.Stderr, "hangbench: %s\n", printable.Text(err.Error()))
	}
	return exitStatus(ctx, err)
}

// exitStatus returns the exit status for a command that returned err.
func exitStatus(ctx context.Context, err error) int {
	var tool *debian.MissingToolError
	if code := exit.Status(ctx, err); code != exit.Broken || !errors.As(err, &tool) {
		return code
	}
	return exit.Missing
}

// output is standard output. It keeps its first error, so that commands need not
// check each write: Main reports it.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.w.Write(b)
	if err != nil {
		o.err = fmt.Errorf("write standard output: %w", err)
	}
	return n, o.err
}

// newApp returns a program and its tree of commands.
func newApp(env *Env, args []string) (*app, *cobra.Command) {
	a := &app{Env: env, args: args, out: &output{w: env.Stdout}}
	a.start()
	root := a.group("hangbench", "hang Xen guests on purpose, and measure how a monitor sees it",
		a.runCommand(), a.resumeCommand(), a.checkCommand(), a.listCommand(), a.reportCommand(), a.compareCommand(),
		a.exportCommand(), a.timelineCommand(), a.labCommand(), a.kernelCommand(), a.watchCommand(), a.recoverCommand(),
		a.benchCommand(),
		a.doctorCommand(), a.completionCommand(), a.manCommand())
	root.Version = run.Revision() + " (" + runtime.Version() + ")"
	root.SetVersionTemplate("hangbench {{.Version}}\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true // ours is a usage error where the shell is none
	root.SetOut(a.out)
	root.SetErr(env.Stderr)
	root.SetArgs(slices.Concat([]string{}, args)) // cobra takes nil for the process's own
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		if rest := c.Flags().Args(); c.HasSubCommands() && len(rest) > 0 {
			a.unhelped = noCommand(c, rest[0]) // the help of a command that does not exist
			return
		}
		printHelp(a.out, c)
	})
	root.SetHelpCommand(a.helpCommand())
	root.SetFlagErrorFunc(flagError)
	root.Flags().Bool("version", false, "print the version")
	root.PersistentFlags().BoolP("help", "h", false, "print what the command does, and its flags")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "report every step on standard error")
	decimals(root)
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error {
		a.start()
		return oldflag.Warn(env.Stderr, c.Flags())
	}
	return a, root
}

// start makes the logger from the flags as they are now.
func (a *app) start() {
	a.display = progress.NewDisplay(a.Stderr, progress.Options{Terminal: a.Terminal, Width: a.Width,
		Verbose: a.verbose})
	a.log = slog.New(slog.NewMultiHandler(a.display, progress.NewText(&a.file), &a.warned))
}

// step logs what the program does now.
func (a *app) step(what string) { a.log.Info(what) }

// warn logs a mistake that does not end the command.
func (a *app) warn(format string, args ...any) { a.log.Warn(fmt.Sprintf(format, args...)) }

// command returns a command that takes from least to most arguments. use is its name
// and its arguments. summary is its line in the help of its group, long the text of
// its own help.
func (a *app) command(use, summary, long string, least, most int) *cobra.Command {
	name, arguments, _ := strings.Cut(use, " ")
	c := &cobra.Command{
		Use: strings.TrimSpace(name + " [flags] " + arguments), Short: summary, Long: long, DisableFlagsInUseLine: true,
		Args:              func(c *cobra.Command, args []string) error { return checkCount(c, len(args), least, most) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.Flags().SortFlags = false
	return c
}

// checkCount checks the number of arguments.
func checkCount(c *cobra.Command, n, least, most int) error {
	if n >= least && n <= most {
		return nil
	}
	want := fmt.Sprint(least)
	switch {
	case most > least && n < least:
		want = "at least " + want
	case most > least:
		want = fmt.Sprintf("at most %d", most)
	}
	name := shortPath(c)
	arguments := "arguments"
	if n == 1 {
		arguments = "argument"
	}
	return exit.Usagef("%s: %d %s, want %s; see hangbench %s --help", name, n, arguments, want, name)
}

// shortPath is the name of a command without the program's.
func shortPath(c *cobra.Command) string {
	return strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), "hangbench"), " ")
}

// group returns a command that has others below it.
func (a *app) group(name, summary string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: name + " COMMAND [flags] [arguments]", Short: summary, Long: summary + ".", DisableFlagsInUseLine: true,
		Args: cobra.ArbitraryArgs, ValidArgsFunction: cobra.NoFileCompletions,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			printHelp(a.Stderr, c)
			return exit.Usagef("%s what? Give one of the commands above", c.CommandPath())
		case args[0] == "help":
			printHelp(a.out, c)
			return nil
		}
		return noCommand(c, args[0])
	}
	for i, sub := range commands {
		sub.Annotations = map[string]string{placeKey: fmt.Sprintf("%02d", i)}
	}
	c.AddCommand(commands...)
	return c
}

// placeKey is the annotation with a command's place in its group. Without it cobra
// would sort the commands by name.
const placeKey = "hangbench-place"

// shown returns the commands of a group that help shows, in the order of the code.
func shown(group *cobra.Command) []*cobra.Command {
	var all []*cobra.Command
	for _, c := range group.Commands() {
		if c.IsAvailableCommand() {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(x, y *cobra.Command) int {
		return strings.Compare(x.Annotations[placeKey], y.Annotations[placeKey])
	})
	return all
}

// noCommand returns the error for a command that does not exist.
func noCommand(group *cobra.Command, name string) error {
	names := commandNames(group)
	if len(names) == 0 {
		return exit.Usagef("%s has no commands below it, and no %q", group.CommandPath(), name)
	}
	guesses := names
	if !group.HasParent() {
		guesses = slices.Concat(names, []string{"--version"})
	}
	return exit.Usagef("%s has no command %q%s; it has %s", group.CommandPath(), name, suites.DidYouMean(name, guesses),
		strings.Join(names, ", "))
}

// commandNames returns the names of the commands of a group that help shows.
func commandNames(group *cobra.Command) []string {
	var names []string
	for _, c := range shown(group) {
		names = append(names, c.Name())
	}
	return names
}

// flagError returns the usage error for a flag that cannot be parsed.
func flagError(c *cobra.Command, err error) error {
	name := shortPath(c)
	if name != "" {
		name += ": "
	}
	hint := ""
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) && tooLarge(bad.GetValue()) {
		return exit.Usagef("%s--%s %s: the number is too large", name, bad.GetFlag().Name, bad.GetValue())
	}
	if unknown := (*pflag.NotExistError)(nil); errors.As(err, &unknown) {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		hint = strings.Replace(suites.DidYouMean(unknown.GetSpecifiedName(), names), `"`, `"--`, 1)
	}
	return exit.Usagef("%s%w%s", name, err, hint)
}

// decimals makes every flag of a command, and of those below it, that takes a number refuse
// numbers that pflag would take for octal, hexadecimal or binary ones: --seed 010 is no 8.
func decimals(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if t := f.Value.Type(); t == "int" || t == "uint64" {
			f.Value = decimal{f.Value}
		}
	})
	for _, sub := range c.Commands() {
		decimals(sub)
	}
}

// decimal is the value of a flag that takes a whole number.
type decimal struct{ pflag.Value }

// Set sets the value from its decimal digits.
func (d decimal) Set(text string) error {
	digits := strings.TrimPrefix(text, "-")
	if len(digits) > 1 && digits[0] == '0' || strings.Contains(digits, "_") {
		return errors.New("must be a decimal number without leading zeros")
	}
	return d.Value.Set(text)
}

// tooLarge says whether a text is a whole number that no flag can hold.
func tooLarge(text string) bool {
	_, err := strconv.ParseInt(text, 0, 64)
	_, uerr := strconv.ParseUint(text, 0, 64)
	return errors.Is(err, strconv.ErrRange) && (text[0] == '-' || errors.Is(uerr, strconv.ErrRange))
}

// helpCommand returns the command "help COMMAND".
func (a *app) helpCommand() *cobra.Command {
	c := a.command("help [COMMAND...]", "print what a command does, and its flags",
		"Print what a command does, and its flags.", 0, 8)
	c.Annotations = map[string]string{placeKey: "99"}
	c.RunE = func(c *cobra.Command, args []string) error {
		about, rest, err := c.Root().Find(args)
		if err != nil {
			return exit.UsageError{Err: err}
		}
		if len(rest) > 0 {
			return noCommand(about, rest[0])
		}
		printHelp(a.out, about)
		return nil
	}
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		about, rest, err := c.Root().Find(args)
		if err != nil || len(rest) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return commandNames(about), cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

// helpWidth is the number of columns of help.
const helpWidth = 110

const exitHelp = "Exit status: 0 done, 1 trials failed, 2 usage or bad input, 3 something is missing on this host,\n" +
	"4 the infrastructure failed, 130 interrupted."

// printHelp prints the help of a command or a group.
func printHelp(w io.Writer, c *cobra.Command) {
	fmt.Fprintf(w, "usage: %s\n\n", c.UseLine())
	group := c.HasAvailableSubCommands()
	if !group {
		fmt.Fprintln(w, wrap(c.Long, helpWidth))
	}
	for _, sub := range shown(c) {
		fmt.Fprintf(w, "  %-10s %s\n", sub.Name(), sub.Short)
	}
	for _, f := range []*pflag.FlagSet{c.LocalFlags(), c.InheritedFlags()} {
		if f.HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s", f.FlagUsagesWrapped(helpWidth))
		}
	}
	if group {
		fmt.Fprintf(w, "\n\"%s COMMAND --help\" tells more.\n%s\n", c.CommandPath(), exitHelp)
	}
}

// wrap breaks a text into lines of at most width columns. Empty lines stay.
func wrap(text string, width int) string {
	var paragraphs []string
	for p := range strings.SplitSeq(text, "\n\n") {
		var lines []string
		line := ""
		for _, word := range strings.Fields(p) {
			if line != "" && len(line)+1+len(word) > width {
				lines = append(lines, line)
				line = ""
			}
			if line != "" {
				line += " "
			}
			line += word
		}
		paragraphs = append(paragraphs, strings.Join(append(lines, line), "\n"))
	}
	return strings.Join(paragraphs, "\n\n")
}
