package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"hangbench/bench/exit"
	"hangbench/guests/lab/debian"
)

// Exit statuses.
const (
	ExitDone        = exit.Done
	ExitFailed      = exit.Failed
	ExitUsage       = exit.Usage
	ExitMissing     = exit.Missing
	ExitBroken      = exit.Broken
	ExitInterrupted = exit.Interrupted
)

// Env is what a command has of the world.
type Env struct {
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Terminal says that Stderr is a terminal, Width how wide Stdout is (0: not a
	// terminal).
	Terminal bool
	Width    int
	Now      func() time.Time
}

func (e *Env) warn(format string, a ...any) {
	fmt.Fprintf(e.Stderr, "hangbench: warning: "+format+"\n", a...)
}

type (
	usageError   = exit.UsageError
	missingError = exit.MissingError
)

func usagef(format string, a ...any) error { return exit.Usagef(format, a...) }

var errFailed = exit.ErrFailed

// command is one word of the command line.
type command struct {
	name, args, summary string
	run                 func(ctx context.Context, env *Env, args []string) error
}

func commands() []command {
	return []command{
		{"run", "SUITE", "run a suite: its trials, then tables, figures and report", runCommand},
		{"resume", "RUN", "go on with an interrupted run", resumeCommand},
		{"check", "SUITE", "read a suite and print its plan without running it", checkCommand},
		{"list", "[scenarios|mechanisms|detectors|suites]", "list what can be run", listCommand},
		{"report", "RUN", "print a run's tables and draw its figures again", reportCommand},
		{"compare", "OLD NEW", "compare two runs: what got better, what worse, how sure it is", compareCommand},
		{"export", "RUN", "print a run in the Go benchmark format, for benchstat", exportCommand},
		{"timeline", "SCENARIO|STREAM", "draw one trial as its monitor saw it", timelineCommand},
		{"lab", "build|env|up|run|console|down|status|bench", "make and use the emulated Xen host", labCommand},
		{"watch", "DOMAIN", "monitor a guest that runs on this Xen host", watchCommand},
		{"recover", "DOMAIN | --all", "bring a guest back whose monitor was killed", recoverCommand},
		{"bench", "lab|event|kill", "measure the harness itself", benchCommand},
		{"doctor", "", "say what each kind of host has and lacks", doctorCommand},
	}
}

// Main runs the command line and returns the exit status.
func Main(ctx context.Context, env *Env, args []string) int {
	err := dispatch(ctx, env, "hangbench", commands(), args)
	code := exitCode(ctx, err)
	if err != nil && !errors.Is(err, errFailed) && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(env.Stderr, "hangbench: %v\n", err)
	}
	return code
}

func dispatch(ctx context.Context, env *Env, name string, table []command, args []string) error {
	if len(args) == 0 {
		printUsage(env.Stderr, name, table)
		return usagef("%s what? Give one of the commands above", name)
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		printUsage(env.Stdout, name, table)
		return nil
	}
	var names []string
	for _, c := range table {
		if c.name == args[0] {
			return c.run(ctx, env, args[1:])
		}
		names = append(names, c.name)
	}
	return usagef("%s has no command %q; it has %s", name, args[0], strings.Join(names, ", "))
}

func printUsage(w io.Writer, name string, table []command) {
	fmt.Fprintf(w, "usage: %s COMMAND [flags] [arguments]\n\n", name)
	for _, c := range table {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\n\"%s COMMAND --help\" tells more. Exit status: 0 done, 1 trials failed, 2 usage or bad input,\n3 capability missing, 4 infrastructure failed, 130 interrupted.\n", name)
}

func exitCode(ctx context.Context, err error) int {
	var tool *debian.MissingToolError
	if status := exit.Status(ctx, err); status != exit.Broken || !errors.As(err, &tool) {
		return status
	}
	return ExitMissing
}

// flags returns a flag set that reports mistakes as usage errors.
func flags(env *Env, name, args, summary string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(io.Discard)
	f.Usage = func() {
		fmt.Fprintf(env.Stdout, "usage: hangbench %s [flags] %s\n\n%s\n", name, args, summary)
		if f.HasFlags() {
			fmt.Fprintf(env.Stdout, "\n%s", f.FlagUsages())
		}
	}
	return f
}

// parse parses the arguments and checks how many remain.
func parse(f *pflag.FlagSet, args []string, least, most int) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usagef("%s: %w", f.Name(), err)
	}
	if n := f.NArg(); n < least || n > most {
		want := fmt.Sprint(least)
		switch {
		case most > least && n < least:
			want = "at least " + want
		case most > least:
			want = fmt.Sprintf("at most %d", most)
		}
		return usagef("%s: %d arguments, want %s; see hangbench %s --help", f.Name(), n, want, f.Name())
	}
	return nil
}
