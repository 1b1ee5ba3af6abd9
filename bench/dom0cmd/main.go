package dom0cmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"hangbench/bench/exit"
	"hangbench/bench/oldflag"
	"hangbench/results/printable"
)

// command is a command of the small program.
type command struct {
	name, args, help string
	flags            func(*pflag.FlagSet)
	min, max         int // number of arguments
	run              func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

// commands returns the commands of the small program, each with flags of its own.
func commands() []command {
	var w Watch
	var rec Recover
	var r Run
	return []command{
		{"watch", "DOMAIN", WatchHelp, w.AddFlags, 1, 1,
			func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
				return w.Run(ctx, args[0], stdout, stderr)
			}},
		{"recover", "DOMAIN | --all", RecoverHelp, rec.AddFlags, 0, 1,
			func(_ context.Context, args []string, stdout, _ io.Writer) error { return rec.Run(args, stdout) }},
		{"run", "SUITE", RunHelp, r.AddFlags, 1, 1,
			func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
				return r.Run(ctx, args[0], stdout, stderr)
			}},
		{"doctor", "", "Report what this machine has and lacks as a Xen host. Exit status 3 if it is not usable.",
			func(*pflag.FlagSet) {}, 0, 0,
			func(_ context.Context, _ []string, stdout, _ io.Writer) error { return doctor(stdout, ExamineXen()) }},
	}
}

// doctor prints the findings about this machine.
func doctor(w io.Writer, found []Finding) error {
	if !PrintFindings(w, XenHost, found) {
		return exit.MissingError{Err: errors.New("this machine is not usable as a Xen host")}
	}
	_, err := fmt.Fprintln(w, "  usable")
	return err
}

// Main runs the command line of the small program and returns its exit status.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return end(ctx, dispatch(ctx, args, stdout, stderr), stderr)
}

// end prints why a command that returned err ended and returns its exit status.
func end(ctx context.Context, err error, stderr io.Writer) int {
	status := exit.Status(ctx, err)
	switch {
	case status == exit.Interrupted && errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "hangbench: interrupted; to go on, give the command again")
	case err != nil && !errors.Is(err, pflag.ErrHelp) && !errors.Is(err, exit.ErrFailed):
		fmt.Fprintf(stderr, "hangbench: %s\n", printable.Text(err.Error()))
	}
	return status
}

func dispatch(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	all := commands()
	if len(args) == 0 {
		usage(stderr, all)
		return exit.Usagef("give a command")
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(stdout, all)
		return nil
	}
	for _, c := range all {
		if c.name != args[0] {
			continue
		}
		f := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
		f.SortFlags = false
		f.SetOutput(io.Discard)
		c.flags(f)
		f.Usage = func() {
			fmt.Fprintf(stdout, "usage: hangbench %s [flags] %s\n\n%s\n\n%s", c.name, c.args, c.help, f.FlagUsages())
		}
		if err := f.Parse(args[1:]); errors.Is(err, pflag.ErrHelp) {
			return err
		} else if err != nil {
			return exit.Usagef("%s: %w", c.name, err)
		}
		if n := f.NArg(); n < c.min || n > c.max {
			return exit.Usagef("%s: %d arguments, want %s", c.name, n, c.args)
		}
		if err := oldflag.Warn(stderr, f); err != nil {
			return err
		}
		return c.run(ctx, f.Args(), stdout, stderr)
	}
	return exit.Usagef("there is no command %q in a dom0's program; try help", args[0])
}

func usage(w io.Writer, all []command) {
	fmt.Fprintln(w, "usage: hangbench COMMAND [flags] [arguments], in a Xen control domain")
	for _, c := range all {
		fmt.Fprintf(w, "  %-8s %s\n", c.name, c.args)
	}
	fmt.Fprintln(w, "\"hangbench COMMAND --help\" tells more. Measurements and all other commands are those of the full "+
		"program.")
}
