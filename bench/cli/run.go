package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"hangbench/analysis"
	"hangbench/bench/dom0"
	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/bench/plan"
	"hangbench/bench/progress"
	"hangbench/bench/run"
	"hangbench/guests/lab"
	"hangbench/results"
	"hangbench/results/printable"
	"hangbench/scenarios/suites"
)

// runFlags are the flags of "run".
type runFlags struct {
	host    hostFlags
	seed    uint64
	out     string
	json    bool
	drivers []string // in place of the suite's
	kernels []string // in place of the kernels of its guests
}

func (a *app) runCommand() *cobra.Command {
	c := a.command("run SUITE", "run a suite: its trials, then tables, figures and report",
		"Run a suite, by the name of a built-in one or by a file's path, and leave the records, tables, figures and a "+
			"report in a folder.", 1, 1)
	var r runFlags
	f := c.Flags()
	f.Uint64Var(&r.seed, "seed", 1, "`seed` of the plan; equal seeds give equal trials.jsonl in the lab")
	f.StringVar(&r.out, "out", filepath.Join("results", "runs"), "`folder` for the run's own folder")
	f.BoolVar(&r.json, "json", false, "print the records and the run's folder as JSON instead of tables")
	f.StringSliceVar(&r.drivers, "driver", nil,
		"`names` of the libraries underneath, xenctrl or libvmi or both, in place of the suite's")
	f.StringArrayVar(&r.kernels, "kernel", nil, "`kernel` of the guests, in place of the suite's: a name, or "+
		suites.KernelFile+"PATH, and more of them with another --kernel")
	r.host.add(c)
	c.ValidArgsFunction = once(completeSuites)
	completeFlag(c, "out", folders)
	completeFlag(c, "kernel", choices(lab.GuestKernels()...))
	completeFlag(c, "driver", lists(dom0.Drivers()...))
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := r.host.check(c.Flags()); err != nil {
			return err
		}
		if c.Flags().Changed("driver") && len(r.drivers) == 0 {
			return exit.Usagef("--driver \"\": name %s or both", strings.Join(dom0.Drivers(), " or "))
		}
		return r.run(c.Context(), a, args[0])
	}
	return c
}

func (r *runFlags) run(ctx context.Context, a *app, suite string) (err error) {
	s, err := loadSuite(ctx, suite)
	if err != nil {
		return err
	}
	if err := setDrivers(s, r.drivers); err != nil {
		return err
	}
	if err := setKernels(s, r.kernels); err != nil {
		return err
	}
	if err := tryFolder("--out", r.out); err != nil {
		return err
	}
	x := experiment{jobs: r.host.jobs, trials: plan.Expand(s, r.seed), json: r.json}
	x.host, err = r.host.open(ctx, a, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.host.close()) }()
	x.store, err = run.Create(r.out, run.Start{
		Suite: s, Seed: r.seed, Plan: x.trials, Host: x.host.info, Versions: x.host.versions,
		Warnings: a.warned.Texts(), Time: a.Now(),
	})
	if err != nil {
		return err
	}
	return x.execute(ctx, a)
}

// setDrivers replaces the drivers of a suite, unless drivers is empty.
func setDrivers(s *suites.Suite, drivers []string) error {
	if len(drivers) == 0 {
		return nil
	}
	for i, name := range drivers {
		if err := dom0cmd.CheckDriver(name); err != nil {
			return err
		}
		if slices.Contains(drivers[:i], name) {
			return exit.Usagef("--driver %s: it is there twice", name)
		}
	}
	s.Drivers = drivers
	return nil
}

// setKernels gives the guests of a suite other kernels, each guest one after the other,
// unless kernels is empty. Then it gives the kernels that are files their names.
func setKernels(s *suites.Suite, kernels []string) error {
	for i, k := range kernels {
		path, file := strings.CutPrefix(k, suites.KernelFile)
		switch {
		case file && path != "":
		case !slices.Contains(lab.GuestKernels(), k):
			return exit.Usagef("--kernel %q: there are %s, and %sPATH", k, strings.Join(lab.GuestKernels(), ", "),
				suites.KernelFile)
		case slices.Contains(kernels[:i], k):
			return exit.Usagef("--kernel %s: it is there twice", k)
		}
	}
	if len(kernels) > 0 {
		given := s.Guests
		s.Guests, s.GivenGuests = nil, true
		for _, k := range kernels {
			for _, g := range given {
				if g.Kernel = k; !slices.Contains(s.Guests, g) {
					s.Guests = append(s.Guests, g)
				}
			}
		}
	}
	return nameFiles(s)
}

// nameFiles gives the kernels of a suite that are files the names by which a run knows
// them.
func nameFiles(s *suites.Suite) error {
	for i := range s.Guests {
		spec, file := strings.CutPrefix(s.Guests[i].Kernel, suites.KernelFile)
		if !file {
			continue
		}
		name, err := lab.KernelFileName(spec)
		if err != nil {
			return exit.UsageError{Err: err}
		}
		if s.KernelFiles == nil {
			s.Guests, s.KernelFiles = slices.Clone(s.Guests), map[string]string{}
		}
		if was := s.KernelFiles[name]; was != "" && was != spec {
			return exit.Usagef("the guest kernels %s and %s are the same file: remove one of them", was, spec)
		}
		s.Guests[i].Kernel, s.KernelFiles[name], s.GivenGuests = name, spec, true
	}
	return nil
}

// sameFiles reports that a file of a guest kernel is not what it was when a run began.
func sameFiles(s *suites.Suite) error {
	for name, spec := range s.KernelFiles {
		is, err := lab.KernelFileName(spec)
		if err == nil && is != name {
			err = fmt.Errorf("guest kernel %s has changed since the run began", spec)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// resumeFlags are the flags of "resume".
type resumeFlags struct {
	host hostFlags
	json bool
}

func (a *app) resumeCommand() *cobra.Command {
	c := a.command("resume RUN", "go on with an interrupted run",
		"Go on with an interrupted run; RUN is its folder.", 1, 1)
	var r resumeFlags
	c.Flags().BoolVar(&r.json, "json", false, "print the records and the run's folder as JSON instead of tables")
	r.host.add(c)
	c.ValidArgsFunction = once(completeRuns)
	c.RunE = func(c *cobra.Command, args []string) error {
		old, err := readInput(c.Context(), func() (*results.Run, error) { return results.ReadRun(args[0], planner()) })
		if err != nil {
			return err
		}
		if len(old.Bad) == 0 && old.Missing() == 0 {
			return r.whole(c.Context(), a, old)
		}
		if !c.Flags().Changed("host") {
			r.host.kind = old.Manifest.Host.Kind
		}
		if err := r.host.check(c.Flags()); err != nil {
			return err
		}
		return r.run(c.Context(), a, args[0], &old.Manifest)
	}
	return c
}

// whole ends a run all of whose trials are stored. It needs no host. A run that was killed
// after its last trial gets the end that it lacks: its manifest, tables and report.
func (r *resumeFlags) whole(ctx context.Context, a *app, old *results.Run) error {
	if !old.Manifest.Interrupted {
		if r.json {
			return showJSON(a, old)
		}
		_, err := fmt.Fprintf(a.out, "%s is complete: all of its %d trials are stored. There is nothing to resume.\n",
			printable.Line(old.Dir), old.Manifest.Planned)
		return err
	}
	store, err := results.Resume(old.Dir, planner())
	if err != nil {
		return err
	}
	if err := store.Close(a.Now()); err != nil {
		return err
	}
	run, err := results.ReadRun(old.Dir, planner())
	if err != nil {
		return err
	}
	if err := (&experiment{store: store, json: r.json}).show(ctx, a, run); err != nil {
		return err
	}
	return judge(a, run)
}

func (r *resumeFlags) run(ctx context.Context, a *app, dir string, old *results.Manifest) (err error) {
	if r.host.kind != old.Host.Kind {
		return exit.Usagef("resume: %s ran on host %s and cannot go on on %s", dir, old.Host.Kind, r.host.kind)
	}
	s, trials, err := plan.Again(old, vocabulary())
	if err == nil {
		err = setDrivers(s, old.Suite.Drivers) // are they there?
	}
	if err == nil {
		err = sameFiles(s)
	}
	if err != nil {
		return exit.Usagef("resume: %s: %w; run the suite anew", dir, err)
	}
	if err := results.Locked(dir); err != nil { // before anything is fetched
		return err
	}
	x := experiment{jobs: r.host.jobs, trials: trials, json: r.json}
	if r.host.kind == results.Lab {
		if err := r.host.lab.sameXen(dir, old); err != nil {
			return err
		}
	}
	x.host, err = r.host.open(ctx, a, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.host.close()) }()
	for name, is := range x.host.versions {
		variant := strings.HasPrefix(name, labVersion+"-")
		if was := old.Versions.Packages[name]; was != is && (name == labVersion || variant && was != "") {
			return exit.Usagef("resume: %s began in lab %s, and this is lab %s: its trials would not be comparable; "+
				"run the suite anew", dir, was, is)
		}
	}
	if x.store, err = results.Resume(dir, planner()); err != nil {
		return err
	}
	return x.execute(ctx, a)
}

// sameXen chooses the Xen that the lab had when the run in dir began, unless flags name
// one. A Xen that the user brought has to be named again, and be the same.
func (l *labFlags) sameXen(dir string, m *results.Manifest) error {
	was := m.Versions.Packages[xenVersion]
	flag := "" // with which the user brought it
	for form, f := range map[string]string{
		lab.XenFile: "--xen " + lab.XenFilePrefix + "PATH", lab.XenDebs: "--xen-debs FOLDER",
	} {
		if strings.Contains(was, "("+form+":") { // XenID.String
			flag = f
		}
	}
	switch {
	case l.xenFlag() != "":
		if err := l.findXen(); err != nil || flag == "" || l.givenXen != nil && l.givenXen.ID.String() == was {
			return err
		}
		is := ""
		if l.givenXen != nil {
			is = " is " + l.givenXen.ID.String()
		}
		return exit.Usagef("resume: %s ran on Xen %s, and %s%s: name the former, or run the suite anew", dir, was,
			l.xenFlag(), is)
	case flag != "":
		return exit.Usagef("resume: %s ran on Xen %s: name that one again with %s", dir, was, flag)
	}
	for _, release := range lab.Xens() {
		if strings.HasPrefix(was, release+".") {
			l.xen = lab.VariantXen(release)
		}
	}
	return nil
}

// experiment is a run that begins or goes on.
type experiment struct {
	host   *opened
	jobs   int
	trials []plan.Trial
	store  *results.Store
	json   bool // print JSON instead of tables
}

// execute runs the trials that remain, and prints the results. It prints those of the
// finished trials also when the run ends early, unless the disk is full.
func (x *experiment) execute(ctx context.Context, a *app) error {
	err := a.file.Open(filepath.Join(x.store.Dir(), progress.FileName))
	if err == nil {
		err = x.runTrials(ctx, a)
	}
	a.display.End()
	cut := ctx.Err() != nil
	if cut {
		a.log.Debug("interrupted", "error", err)
		err = nil
	}
	err = errors.Join(err, x.finish(a))
	r, rerr := results.ReadRun(x.store.Dir(), planner())
	if rerr != nil {
		return x.explain(errors.Join(err, rerr), 0)
	}
	if len(r.Trials) > 0 && !noSpace(err) {
		showing := ctx
		if cut {
			showing = context.WithoutCancel(ctx)
		}
		rerr = x.show(showing, a, r)
	}
	switch {
	case ctx.Err() != nil:
		if err != nil {
			a.warn("%v", err)
		}
		return x.interrupted(len(r.Trials))
	case err != nil || rerr != nil:
		return x.explain(errors.Join(err, rerr), len(r.Trials))
	}
	return judge(a, r)
}

// finish closes the store. It records the host's figures first.
func (x *experiment) finish(a *app) (err error) {
	if b := x.host.bench(); len(b) > 0 {
		err = x.store.UpdateManifest(func(m *results.Manifest) {
			if m.Bench == nil {
				m.Bench = map[string]float64{}
			}
			maps.Copy(m.Bench, b)
		})
	}
	return errors.Join(err, x.store.Close(a.Now()))
}

// show prints the tables or the records, draws the figures and writes the report.
func (x *experiment) show(ctx context.Context, a *app, r *results.Run) error {
	if !x.json {
		return show(ctx, a, a.out, r)
	}
	if err := show(ctx, a, io.Discard, r); err != nil {
		return err
	}
	return showJSON(a, r)
}

// interrupted returns the error for a run that a signal ended with so many trials done.
func (x *experiment) interrupted(done int) error {
	if done == len(x.trials) {
		return interruptedError{fmt.Sprintf("interrupted with all %d trials done; write the report with: "+
			"hangbench report %s", done, x.store.Dir())}
	}
	return interruptedError{fmt.Sprintf("interrupted with %d of %d trials done, which are kept; go on with: "+
		"hangbench resume %s", done, len(x.trials), x.store.Dir())}
}

// explain adds to what ended a run early how many trials are kept and how to go on. A
// full disk, which several files meet, is said once.
func (x *experiment) explain(err error, done int) error {
	if _, gone := os.Stat(x.store.Dir()); errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("the run's folder %s was removed while the run went on, and its records with it; "+
			"run the suite anew", x.store.Dir())
	}
	if noSpace(err) {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return spaceError{fmt.Errorf("%s; %d of %d trials are kept; free some space, then go on with: hangbench resume %s",
			first, done, len(x.trials), x.store.Dir())}
	}
	return fmt.Errorf("%w; %d of %d trials are kept; go on with: hangbench resume %s",
		err, done, len(x.trials), x.store.Dir())
}

// noSpace says whether an error comes from a disk, or a user's part of it, that is full.
func noSpace(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// runTrials runs the trials that remain, and records in the manifest how long they
// took.
func (x *experiment) runTrials(ctx context.Context, a *app) error {
	if err := x.host.prepare(ctx); err != nil {
		return err
	}
	before := len(x.store.Remaining())
	started, used := time.Now(), processorTime()
	err := run.Run(ctx, run.Options{Host: x.host, Plan: x.trials, Store: x.store, Jobs: x.jobs, Log: a.log})
	s := results.Session{Jobs: x.jobs, CPUs: runtime.NumCPU(), Trials: before - len(x.store.Remaining()),
		WallSec: time.Since(started).Seconds(), CPUSec: (processorTime() - used).Seconds()}
	if s.Trials > 0 {
		err = errors.Join(err, x.store.UpdateManifest(func(m *results.Manifest) { m.Sessions = append(m.Sessions, s) }))
	}
	return err
}

// processorTime is the CPU time of this process and of its children that have ended.
// A lab's emulator is a child that ends with its trial.
func processorTime() time.Duration {
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if syscall.Getrusage(who, &u) == nil { // it cannot fail with these
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

// judge returns exit.ErrFailed if a trial is invalid or a false alarm, and prints the
// reasons.
func judge(a *app, r *results.Run) error {
	set, err := analysis.Group(r)
	if err != nil {
		return err
	}
	if !run.Judge(a.Stderr, r.Trials, set.Swept()) {
		return exit.ErrFailed
	}
	return nil
}

func showJSON(a *app, r *results.Run) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema   int              `json:"schema"`
		Dir      string           `json:"dir"`
		Manifest results.Manifest `json:"manifest"`
		Trials   []results.Trial  `json:"trials"`
		Missing  int              `json:"missing"` // planned trials without a record
		Damaged  int              `json:"damaged"` // records left out
	}{1, r.Dir, r.Manifest, r.Trials, r.Missing(), len(r.Bad)})
}
