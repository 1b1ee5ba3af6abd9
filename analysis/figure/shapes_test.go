package figure

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

// shape is a made-up run with its figures. Tests share it and must not change it.
type shape struct {
	trials  []results.Trial
	set     *analysis.Set
	figures []*Figure
}

// figure returns the figure of that name.
func (s *shape) figure(t *testing.T, name string) *Figure {
	t.Helper()
	i := slices.IndexFunc(s.figures, func(f *Figure) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no figure %s", name)
	}
	return s.figures[i]
}

// shapes are the runs that every figure must survive, by name.
var shapes = sync.OnceValues(func() (map[string]*shape, error) {
	all := make(map[string]*shape)
	for name, trials := range madeUpRuns() {
		set, err := analysis.Group(madeup.Run(trials))
		if err != nil {
			return nil, err
		}
		figures, err := drawAll(set)
		if err != nil {
			return nil, err
		}
		all[name] = &shape{trials, set, figures}
	}
	return all, nil
})

func theShape(t *testing.T, name string) *shape {
	t.Helper()
	all, err := shapes()
	if err != nil {
		t.Fatal(err)
	}
	if all[name] == nil {
		t.Fatalf("there is no shape %q, only %q", name, slices.Sorted(maps.Keys(all)))
	}
	return all[name]
}

func madeUpRuns() map[string][]results.Trial {
	changed := func(trials []results.Trial, change func(*results.Trial)) []results.Trial {
		for i := range trials {
			change(&trials[i])
		}
		return trials
	}
	// more are the trials and those of exec-step again, by another mechanism.
	more := func(trials []results.Trial, name string) []results.Trial {
		for _, t := range trials {
			if t.Mechanism == "exec-step" {
				t.Mechanism, t.Trial = name, len(trials)
				trials = append(trials, t)
			}
		}
		return trials
	}
	return map[string][]results.Trial{
		"three": more(madeup.Trials(2), "poll"),
		"alone": only(madeup.Trials(2), func(t results.Trial) bool { return t.Mechanism == "exec-step" }),
		"slow": changed(madeup.Trials(2), func(t *results.Trial) { // detected after the last of Linux' watchdogs
			if t.DetectNS != nil {
				t.DetectNS, t.DeadlineNS = new(*t.DetectNS+200e9), 300e9
			}
		}),
		"instant": changed(madeup.Trials(2), func(t *results.Trial) { // one is detected at once
			if t.DetectNS != nil && t.Block == 0 {
				t.DetectNS = new(int64(0))
			}
		}),
		"others": changed(madeup.Listened(2), func(t *results.Trial) { // observers of all kinds, one of them only of controls
			if t.Scenario == "spinlock-deadlock" {
				t.Findings = slices.DeleteFunc(t.Findings, func(f results.Finding) bool { return f.Observer == "rcu-stall" })
			}
			for _, name := range []string{"xen", "another-program"} {
				t.Findings = append(t.Findings, results.Finding{Observer: name, Armed: true, WatchedNS: 24e9})
			}
		}),
		"mechanisms": more(more(twoSizes(2, func(t *results.Trial) { t.VCPUs = 2 }), "poll"),
			strings.Repeat("a long name ", 9)),
		// A fault is detected almost at once. Only one value of a threshold has a time.
		"sweep-early": changed(madeup.Sweep(2), func(t *results.Trial) {
			if t.DetectNS == nil || t.BoundedMS > 0 {
				return
			}
			t.DetectNS = new(int64(950e6 - 949e6*int64(t.Block)))
			if v, ok := t.Thresholds.Get("soft_ms"); ok {
				t.DetectNS = new(int64(950e6))
				if v > 500 {
					t.Outcome, t.DetectNS, t.Class = results.Missed, nil, ""
				}
			}
		}),
		"few":  madeup.Trials(2),
		"many": madeup.Trials(8),
		"wrong": changed(madeup.Trials(3), func(t *results.Trial) { // some verdicts are of another class
			if t.Outcome == results.Detected && t.Block == 2 {
				t.Class = "hard"
			}
		}),
		"near": changed(madeup.Trials(8), func(t *results.Trial) { // misses within the scale
			if t.DeadlineNS > 0 {
				t.DeadlineNS = 250_000_000 + int64(t.Block)*1e6
			}
		}),
		"drivers": changed(madeup.Trials(4), func(t *results.Trial) {
			if t.Block >= 2 {
				t.Driver = "libvmi"
			}
		}),
		"twice": changed(madeup.Trials(3), func(t *results.Trial) { // the deadline is twice the last detection
			if t.DetectNS != nil {
				t.DetectNS = new(int64(100_000_000 + t.Block*25_000_000))
			}
			if t.DeadlineNS > 0 {
				t.DeadlineNS = 300_000_000
			}
		}),
		"blind": changed(madeup.Trials(2), func(t *results.Trial) { // nothing detected
			if t.Outcome == results.Detected {
				t.Outcome, t.DetectNS = results.Missed, nil
			}
		}),
		"long": changed(madeup.Trials(50), func(t *results.Trial) { // more trials than dots
			t.Mechanism = strings.Replace(t.Mechanism, "exec-step", "exec-altp2m-fast", 1)
		}),
		"controls": only(madeup.Trials(3), func(t results.Trial) bool { return t.DeadlineNS == 0 }),
		"one":      madeup.Trials(1)[:1],
		"unwatched": only(madeup.Trials(1), func(t results.Trial) bool {
			return t.Mechanism == "none" && t.Scenario == "spinlock-deadlock"
		}),
		"invalid": only(madeup.Trials(3), func(t results.Trial) bool { return t.Outcome == results.Invalid }),
		"hollow": changed(only(madeup.Trials(3), func(t results.Trial) bool { // no valid trial of one arm
			return t.Scenario == "spinlock-deadlock"
		}), func(t *results.Trial) {
			if t.Mechanism == "exec-step" {
				t.Outcome = results.Invalid
			}
		}),
		"faults": severalFaults(),
		"sweep":  madeup.Sweep(6),
		"sweep-long-names": changed(madeup.Sweep(2), func(t *results.Trial) {
			t.Mechanism += strings.Repeat(" of a long name", 12)
			t.Scenario += strings.Repeat(" of a long name", 4)
		}),
		"sweep-few":     madeup.Sweep(1),
		"sweep-crowded": crowdedSweep(),
		"listened":      madeup.Listened(3),
		"work":          madeup.Workloads(6),
		"work-few":      madeup.Workloads(2),
		"work-stopped": changed(madeup.Workloads(1), func(t *results.Trial) { // the monitor stops the guest altogether
			for j, w := range t.Workload.Windows {
				if w.Monitor && t.Mechanism == "poll" {
					t.Workload.Windows[j].Ops = 0
				}
			}
		}),
		"classes": changed(madeup.Trials(2), func(t *results.Trial) { // violations of every class
			if t.Mechanism != "none" {
				t.EPT.Superpage = 30
				t.EPT.Lazy += 20
				t.EPT.Residual += 10
				t.EPT.Total += 60
			}
		}),
		"long-names": changed(madeup.Listened(6), func(t *results.Trial) {
			const long = " of a very long name that somebody had a reason for, and which goes on and on"
			t.Mechanism, t.Scenario = t.Mechanism+long, t.Scenario+long
			t.GuestKernel += long
			if t.Block%2 == 1 {
				t.VCPUs, t.MemoryMiB, t.Driver = 64, 1024, "another"+long
			}
		}),
		"vcpus-few":  twoSizes(2, func(t *results.Trial) { t.VCPUs = 2 }),
		"vcpus":      twoSizes(6, func(t *results.Trial) { t.VCPUs = 2 }),
		"vcpus-one":  twoSizes(1, func(t *results.Trial) { t.VCPUs = 2 }),
		"guests-few": twoSizes(2, func(t *results.Trial) { t.Neighbours = 1 }),
		"guests":     twoSizes(6, func(t *results.Trial) { t.Neighbours = 1 }),
		"apart": only(twoSizes(2, func(t *results.Trial) { t.VCPUs = 2 }), func(t results.Trial) bool { // nothing in common
			return (t.VCPUs == 2) == (t.Scenario == "control-idle")
		}),
	}
}

func only(trials []results.Trial, keep func(results.Trial) bool) []results.Trial {
	var out []results.Trial
	for _, t := range trials {
		if keep(t) {
			out = append(out, t)
		}
	}
	return out
}

// twoSizes is a made-up run with one and two vCPUs, or guests. With two everything takes
// twice as long. One scenario was tried with one only.
func twoSizes(repetitions int, double func(*results.Trial)) []results.Trial {
	var all []results.Trial
	for _, tr := range madeup.Trials(repetitions) {
		all = append(all, tr)
		if tr.Scenario == "control-busy" {
			continue
		}
		double(&tr)
		e := &tr.EPT
		e.Permission, e.MMIO, e.Suppressed = 2*e.Permission, 2*e.MMIO, 2*e.Suppressed
		e.Lazy, e.Residual, e.Total = 2*e.Lazy, 2*e.Residual, 2*e.Total
		if tr.DetectNS != nil {
			tr.DetectNS = new(2 * *tr.DetectNS)
		}
		all = append(all, tr)
	}
	for i := range all {
		all[i].Trial = i
		// A hundredth of a CPU for each vCPU of each guest.
		g := &all[i].Guest
		g.PairedNS, g.Dom0BeforeNS = 2e9, 1e8
		g.Dom0DuringNS = 2e7 * int64(all[i].VCPUs*(1+all[i].Neighbours))
	}
	return all
}

// crowdedSweep is a sweep with two mechanisms, of which one detects a fault in half of the
// trials, four thresholds, and values whose points lie on each other.
func crowdedSweep() []results.Trial {
	trials := madeup.Sweep(8)
	for _, t := range madeup.Sweep(8) {
		t.Mechanism = "poll"
		if t.DetectNS != nil {
			t.DetectNS = new(*t.DetectNS + 1e8)
			if t.Block%2 == 1 && t.BoundedMS == 0 {
				t.Outcome, t.DetectNS, t.Class = results.Missed, nil, ""
			}
		}
		trials = append(trials, t)
	}
	for _, t := range madeup.Sweep(8) { // the same again, by other names
		values := make(map[string]int64)
		for name, v := range t.Thresholds.All() {
			values["another_"+name] = v
		}
		t.Thresholds = results.NewSettings(values)
		trials = append(trials, t)
		if t.DetectNS != nil && *t.DetectNS > 14e8 && *t.DetectNS < 16e8 { // and a value with no other effect
			t.Thresholds = results.NewSettings(map[string]int64{"another_io_ms": 1001})
			trials = append(trials, t)
		}
	}
	for i := range trials {
		trials[i].Trial = i
	}
	return trials
}

// severalFaults are faults of two classes, one of them undone after a time. Half of the
// verdicts on the second are of the wrong class, and half of the third are missed.
func severalFaults() []results.Trial {
	var all []results.Trial
	for _, t := range madeup.Trials(2) {
		all = append(all, t)
		if t.Scenario != "spinlock-deadlock" {
			continue
		}
		other, short := t, t
		other.Scenario, other.Expected = "another-hang", "hard"
		short.BoundedMS, short.DeadlineNS = 1500, 1_500_000_000
		if t.Outcome == results.Detected {
			other.Class = []string{"hard", "spin"}[t.Block]
			if t.Block == 1 {
				undone, resumed := int64(1_500_000_000), int64(1_600_000_000)
				short.Outcome, short.Class, short.DetectNS = results.Undone, "", nil
				short.UndoneNS, short.ResumedNS = &undone, &resumed
			}
		}
		all = append(all, other, short)
	}
	for i := range all {
		all[i].Trial = i
	}
	return all
}
