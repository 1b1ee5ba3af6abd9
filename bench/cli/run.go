package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"hangbench/analysis"
	"hangbench/bench/plan"
	"hangbench/bench/run"
	"hangbench/bench/xenhost"
	"hangbench/guests/lab"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// hostFlags say where trials run.
type hostFlags struct {
	kind   string
	guests string
	jobs   int
	lab    labFlags
}

func (h *hostFlags) add(f *pflag.FlagSet) {
	f.StringVar(&h.kind, "host", "lab", "where trials run: `KIND` is lab (emulated) or xen (this machine is dom0)")
	f.IntVar(&h.jobs, "jobs", 0, "trials at a time (default: one for each CPU in the lab, 1 on xen)")
	f.StringVar(&h.guests, "guests", "", "`folder` of guest kernels, for --host xen")
	h.lab.add(f)
}

// labVersion is the lab's key among the versions of a run's manifest; those of its
// variants follow a dash.
const labVersion = "lab"

// opened is a host ready to run trials.
type opened struct {
	run.Host
	info     results.HostInfo
	versions map[string]string
	// prepare does what takes long and is best done before the first trial.
	prepare func(context.Context) error
	bench   func() map[string]float64
	close   func() error
}

func (h *hostFlags) check() error {
	if h.kind != "lab" && h.kind != "xen" {
		return usagef("--host %s: there are lab and xen", h.kind)
	}
	if h.jobs < 0 || h.jobs > 64 {
		return usagef("--jobs %d: want 1 to 64", h.jobs)
	}
	if h.kind == "xen" && h.jobs > 1 {
		return usagef("--jobs %d: a real Xen host runs one trial at a time, because its trace buffers are shared", h.jobs)
	}
	if h.jobs == 0 {
		h.jobs = 1
		if h.kind == "lab" {
			h.jobs = runtime.NumCPU()
		}
	}
	return nil
}

func (h *hostFlags) open(ctx context.Context, env *Env, p *progress, s *suites.Suite, warn func(string)) (*opened, error) {
	if h.kind == "xen" {
		x, err := xenhost.Open(h.guests)
		if errors.Is(err, xenhost.ErrNoGuests) {
			return nil, usageError{Err: err}
		}
		if err != nil {
			return nil, err
		}
		info, versions, err := x.Info()
		if err != nil {
			return nil, errors.Join(err, x.Close())
		}
		for _, g := range s.Guests {
			if err := x.CheckGuest(g); err != nil {
				x.Close()
				return nil, missingError{Err: err}
			}
		}
		return &opened{
			Host:     x,
			info:     info,
			versions: versions,
			prepare:  func(context.Context) error { return nil },
			bench:    func() map[string]float64 { return nil },
			close:    x.Close,
		}, nil
	}
	h.lab.libvmi = needsLibVMI(s.Drivers...)
	l, err := h.lab.build(ctx, env, p, lab.Variant{})
	if err != nil {
		return nil, err
	}
	host, err := h.lab.hostOf(ctx, env, p, l, warn)
	if err != nil {
		return nil, err
	}
	m := l.Manifest
	versions := map[string]string{labVersion: m.Key(), "dom0-kernel": m.Dom0, "xen": m.XenVersion()}
	for what, pkg := range map[string]string{"bochs": "bochs", "seabios": "bochsbios"} {
		versions[what] = m.Version(pkg)
	}
	if m.LibVMI != "" {
		versions["libvmi"] = m.LibVMI
	}
	for name, release := range m.Guests {
		versions["guest-"+name] = release
	}
	others, err := host.Manifests(ctx, s.Guests)
	if err != nil {
		return nil, errors.Join(err, host.Close(), l.Close())
	}
	for variant, other := range others {
		if variant == "" {
			continue
		}
		versions[labVersion+"-"+variant] = other.Key()
		for _, set := range lab.GuestPrograms() { // the package's name, too
			if v := other.Version(set); v != "" {
				versions[set] = v
			}
		}
	}
	return &opened{
		Host: host,
		info: results.HostInfo{Kind: "lab", Description: fmt.Sprintf(
			"emulated: Bochs %s, %d CPU of %d MIPS (virtual time), %d MiB, Xen %s, dom0 Linux %s",
			m.Version("bochs"), m.Machine.CPUs, m.Machine.IPS/1_000_000, m.Machine.MemoryMiB, versions["xen"], m.Dom0)},
		versions: versions,
		prepare: func(ctx context.Context) error {
			for _, g := range s.Guests {
				if _, err := host.Guest(ctx, g); err != nil {
					return err
				}
			}
			return nil
		},
		bench: func() map[string]float64 { return figures(host.Times()) },
		close: func() error { return errors.Join(host.Close(), l.Close()) },
	}, nil
}

func runCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "run", "SUITE", "Run a suite, by the name of a built-in one or by a file's path, and leave the records, tables, figures and a report in a folder.")
	var h hostFlags
	seed := f.Uint64("seed", 1, "`seed` of the plan; equal seeds give equal trials.jsonl in the lab")
	out := f.String("out", filepath.Join("results", "runs"), "`folder` for the run's own folder")
	asJSON := f.Bool("json", false, "print the records and the run's folder as JSON instead of tables")
	drivers := f.StringSlice("driver", nil, "`names` of the libraries underneath, xenctrl or libvmi or both, in place of the suite's")
	h.add(f)
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}
	s, err := loadSuite(f.Arg(0))
	if err == nil && len(*drivers) > 0 {
		// Into its text, which is kept: the run can be resumed.
		text := withDrivers(string(s.Text), *drivers)
		if s, err = suites.Parse(s.Name+".yaml", []byte(text), vocabulary()); err != nil {
			err = usagef("--driver: %w", err)
		}
	}
	if err != nil {
		return err
	}
	trials := plan.Expand(s, *seed)
	p := newProgress(env, len(trials))
	var early []string // warnings from before there is a manifest
	host, err := h.open(ctx, env, p, s, func(w string) { p.clear(); env.warn("%s", w); early = append(early, w) })
	if err != nil {
		p.end()
		return err
	}
	defer host.close()
	store, err := run.Create(*out, run.Start{
		Suite: s, Seed: *seed, Plan: trials, Host: host.info, Versions: host.versions, Warnings: early, Time: env.Now(),
	})
	if err != nil {
		p.end()
		return err
	}
	return execute(ctx, env, p, host, h.jobs, trials, store, *asJSON)
}

// ownDrivers is what a suite says of drivers: a line, and its list where that is
// not on the line.
var ownDrivers = regexp.MustCompile(`(?m)^drivers:.*\n?(?:[ \t-].*\n?)*`)

// withDrivers is the text of a suite with other drivers.
func withDrivers(text string, drivers []string) string {
	return ownDrivers.ReplaceAllString(text, "") + "\ndrivers: [" + strings.Join(drivers, ", ") + "]\n"
}

func resumeCommand(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "resume", "RUN", "Go on with an interrupted run; RUN is its folder.")
	var h hostFlags
	asJSON := f.Bool("json", false, "print the records and the run's folder as JSON instead of tables")
	h.add(f)
	if err := parse(f, args, 1, 1); err != nil {
		return err
	}
	old, err := results.ReadRun(f.Arg(0))
	if err != nil {
		return usageError{Err: err}
	}
	if !f.Changed("host") {
		h.kind = old.Manifest.Host.Kind
	}
	if err := h.check(); err != nil {
		return err
	}
	if h.kind != old.Manifest.Host.Kind {
		return usagef("resume: %s ran on host %s and cannot go on on %s", f.Arg(0), old.Manifest.Host.Kind, h.kind)
	}
	s, err := suites.Parse(old.Manifest.Suite.Name+".yaml", []byte(old.Manifest.Suite.Text), vocabulary())
	if err != nil {
		return usageError{Err: fmt.Errorf("resume: the suite in %s: %w", results.ManifestFile, err)}
	}
	trials := plan.Expand(s, old.Manifest.Seed)
	hash, err := plan.Hash(trials)
	if err != nil {
		return err
	}
	if was := old.Manifest.PlanHash; was != "" && was != hash {
		return usagef("resume: %s has another plan than this version makes of its suite; run the suite anew", f.Arg(0))
	}
	p := newProgress(env, len(trials))
	host, err := h.open(ctx, env, p, s, func(w string) { p.clear(); env.warn("%s", w) })
	if err != nil {
		p.end()
		return err
	}
	defer host.close()
	for name, is := range host.versions {
		other := strings.HasPrefix(name, labVersion+"-")
		if was := old.Manifest.Versions.Packages[name]; was != is && (name == labVersion || other && was != "") {
			p.end()
			return usagef("resume: %s began in lab %s, and this is lab %s: its trials would not be comparable; run the suite anew", f.Arg(0), was, is)
		}
	}
	store, err := results.Resume(f.Arg(0))
	if err != nil {
		p.end()
		return err
	}
	return execute(ctx, env, p, host, h.jobs, trials, store, *asJSON)
}

// execute runs what remains and shows what came of it. What was finished is
// shown also when the run ends early.
func execute(ctx context.Context, env *Env, p *progress, host *opened, jobs int, trials []plan.Trial, store *results.Store, asJSON bool) error {
	err := host.prepare(ctx)
	if err == nil {
		before := len(store.Remaining())
		p.resume(len(trials) - before)
		started, used := time.Now(), processorTime()
		err = run.Run(ctx, run.Options{Host: host, Plan: trials, Store: store, Jobs: jobs, Event: p.event})
		session := results.Session{Jobs: jobs, CPUs: runtime.NumCPU(), Trials: before - len(store.Remaining()), WallSec: time.Since(started).Seconds()}
		session.CPUSec = (processorTime() - used).Seconds()
		if session.Trials > 0 {
			err = errors.Join(err, store.UpdateManifest(func(m *results.Manifest) { m.Sessions = append(m.Sessions, session) }))
		}
	}
	p.end()
	if b := host.bench(); len(b) > 0 {
		err = errors.Join(err, store.UpdateManifest(func(m *results.Manifest) {
			if m.Bench == nil {
				m.Bench = map[string]float64{}
			}
			for k, v := range b {
				m.Bench[k] = v
			}
		}))
	}
	err = errors.Join(err, store.Close(env.Now()))
	r, rerr := results.ReadRun(store.Dir())
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	if len(r.Trials) > 0 {
		if asJSON {
			rerr = showJSON(env, r)
		} else {
			rerr = show(env, r)
		}
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("interrupted with %d of %d trials done; go on with: hangbench resume %s", len(r.Trials), len(trials), store.Dir())
	}
	if err = errors.Join(err, rerr); err != nil {
		return err
	}
	return judge(env, r)
}

// processorTime is how long this program and those that it has started and seen
// end were on a CPU. A lab's emulator ends with its trial.
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

// judge returns errFailed if a trial is invalid or a false alarm, and says which.
func judge(env *Env, r *results.Run) error {
	set, err := analysis.Group(r.Trials)
	if err != nil {
		return err
	}
	if !run.Judge(env.Stderr, r.Trials, set.Swept()) {
		return errFailed
	}
	return nil
}

func showJSON(env *Env, r *results.Run) error {
	e := json.NewEncoder(env.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Schema   int              `json:"schema"`
		Dir      string           `json:"dir"`
		Manifest results.Manifest `json:"manifest"`
		Trials   []results.Trial  `json:"trials"`
	}{1, r.Dir, r.Manifest, r.Trials})
}
