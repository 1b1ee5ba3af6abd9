package dom0cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/names"
	"hangbench/bench/plan"
	"hangbench/bench/run"
	"hangbench/bench/xenhost"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// RunHelp is the description of the command run in the lab's dom0.
const RunHelp = "Run a suite on this Xen host, by the name of a built-in one or by a file's path, and leave the " +
	"records in a folder. \"hangbench report\" makes tables and figures of them."

// Run is the command run, on this host.
type Run struct {
	host, guests, out string
	seed              uint64
	json              bool
}

// AddFlags defines the command's flags.
func (r *Run) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&r.host, "host", results.Xen, "where trials run: `KIND` can only be xen, this machine")
	f.StringVar(&r.guests, "guests", "", "`folder` of guest kernels")
	f.Uint64Var(&r.seed, "seed", 1, "`seed` of the plan")
	f.StringVar(&r.out, "out", filepath.Join("results", "runs"), "`folder` for the run's own folder")
	f.BoolVar(&r.json, "json", false, "print the records as JSON, one a line")
}

// Run runs the suite. It returns exit.ErrFailed if a trial is invalid or a false
// alarm.
func (r *Run) Run(ctx context.Context, suite string, stdout, stderr io.Writer) (err error) {
	if r.host != results.Xen {
		return exit.Usagef("--host %s: this program runs in a dom0 and has only xen", r.host)
	}
	kernels, programs, err := dom0.Installed(r.guests)
	if err != nil {
		return exit.UsageError{Err: fmt.Errorf("--guests: %w", err)}
	}
	s, err := suites.Load(suite, names.Suites(kernels, programs, dom0.Releases()))
	if err != nil {
		return exit.UsageError{Err: err}
	}
	h, err := xenhost.Open(dom0.Config{Guests: r.guests})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	for _, g := range s.Guests {
		if err := h.CheckGuest(g); err != nil {
			return exit.MissingError{Err: err}
		}
	}
	info, versions, err := h.Info()
	if err != nil {
		return err
	}
	return r.trials(ctx, h, run.Start{
		Suite: s, Seed: r.seed, Plan: plan.Expand(s, r.seed), Host: info, Versions: versions, Time: time.Now(),
	}, stdout, stderr)
}

// trials runs the trials of a run and prints what came of them.
func (r *Run) trials(ctx context.Context, h run.Host, s run.Start, stdout, stderr io.Writer) error {
	store, err := run.Create(r.out, s)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	err = run.Run(ctx, run.Options{Host: h, Plan: s.Plan, Store: store, Jobs: 1, Log: log})
	err = errors.Join(err, store.Close(time.Now()))
	read, rerr := results.ReadRun(store.Dir(), nil)
	if err = errors.Join(err, rerr); err != nil {
		return err
	}
	if r.json {
		e := json.NewEncoder(stdout)
		for i := range read.Trials {
			if err := e.Encode(&read.Trials[i]); err != nil {
				return err
			}
		}
	} else {
		fmt.Fprintf(stdout, "%d trials in %s\n", len(read.Trials), store.Dir())
	}
	var swept []string
	for _, w := range s.Suite.Sweeps {
		swept = append(swept, w.Threshold)
	}
	if !run.Judge(stderr, read.Trials, swept) {
		return exit.ErrFailed
	}
	return nil
}
