package compare

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"hangbench/analysis"
	"hangbench/analysis/golden"
	"hangbench/analysis/internal/madeup"
	"hangbench/analysis/stats"
	"hangbench/analysis/table"
	"hangbench/results"
)

func run(id string, seed uint64, trials []results.Trial) *results.Run {
	return &results.Run{Trials: trials, Manifest: results.Manifest{
		Schema: results.ManifestSchema, RunID: id, Seed: seed, Planned: len(trials),
		Suite: results.NewSuiteInfo(madeup.Suite, []byte("name: made-up\n")),
		Host:  results.HostInfo{Kind: "lab", Description: "made up"},
	}}
}

var anyGate = Gate{Tolerance: DefaultTolerance}

func compareTrials(t *testing.T, old, next *results.Run, g Gate) *Report {
	t.Helper()
	r, err := Runs([]*results.Run{old}, []*results.Run{next}, Options{Gate: g})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *Report) find(t *testing.T, scenario, arm, metric string) Row {
	t.Helper()
	for _, row := range r.Rows {
		if row.Scenario == scenario && row.Arm == arm && row.Metric == metric {
			return row
		}
	}
	t.Fatalf("no row %s, %s, %s", scenario, arm, metric)
	return Row{}
}

// TestSameCommitSameSeed: the lab gives equal records, so no metric changes.
func TestSameCommitSameSeed(t *testing.T) {
	for _, repetitions := range []int{1, 2, 8} {
		r := compareTrials(t, run("a", 1, madeup.Trials(repetitions)), run("b", 1, madeup.Trials(repetitions)), anyGate)
		if !r.Paired || r.Failed() || r.Count(Worse) > 0 || r.Count(Better) > 0 || r.Count(Unclear) > 0 || len(r.Rows) < 30 {
			t.Errorf("%d repetitions: %s", repetitions, r.Answer())
		}
		if n := len(r.Table(false).Rows); n != 0 {
			t.Errorf("%d repetitions: %d rows to read", repetitions, n)
		}
	}
}

// TestSameCommitOtherSeeds: chance alone must not fail a build. All made-up runs have the
// same misses; everything else is random.
func TestSameCommitOtherSeeds(t *testing.T) {
	// The gate may fail by chance in 1 of 20. The seeds are fixed, and so is the number.
	const runs, want = 60, 1
	fails := 0
	for seed := range uint64(runs) {
		old, next := run("a", 2*seed, madeup.Seeded(2*seed, 8)), run("b", 2*seed+1, madeup.Seeded(2*seed+1, 8))
		r := compareTrials(t, old, next, anyGate)
		if r.Paired {
			t.Fatal("runs of other seeds are paired")
		}
		if r.Failed() {
			fails++
		}
	}
	if fails != want {
		t.Errorf("%d of %d comparisons of one program fail, want %d", fails, runs, want)
	}
}

// planted returns a run of the seed whose trials were changed. Its trials can be paired with
// those of an old run of the same seed.
func planted(seed uint64, repetitions int, change func(*results.Trial)) *results.Run {
	trials := madeup.Seeded(seed, repetitions)
	for i := range trials {
		change(&trials[i])
	}
	return run("b", seed, trials)
}

func slower(factor float64) func(*results.Trial) {
	return func(tr *results.Trial) {
		if tr.DetectNS != nil {
			ns := int64(float64(*tr.DetectNS) * factor)
			tr.DetectNS = &ns
		}
	}
}

// oneMore adds one permission violation for every event.
func oneMore(tr *results.Trial) {
	tr.EPT.Permission += tr.Events.Delivered
	tr.EPT.Total += tr.Events.Delivered
}

func lessProgress(tr *results.Trial) {
	if p := tr.Guest.ProgressRatio; p != nil {
		tr.Guest.ProgressRatio = new(*p * 0.95)
	}
}

func never(tr *results.Trial) {
	if tr.Outcome == results.Detected {
		tr.Outcome, tr.DetectNS, tr.Class = results.Missed, nil, ""
	}
}

func alarms(tr *results.Trial) {
	if tr.Outcome == results.Clean && tr.Mechanism != "none" {
		tr.Outcome, tr.Class = results.FalseAlarm, "soft"
	}
}

func confused(tr *results.Trial) {
	if tr.Outcome == results.Detected {
		tr.Class = "hard"
	}
}

func stuck(tr *results.Trial) {
	if tr.Recovered != nil {
		tr.Recovered = new(false)
	}
}

func TestPlanted(t *testing.T) {
	const deadlock, busy = "spinlock-deadlock", "control-busy"
	for _, tc := range []struct {
		name        string
		seed        uint64 // 1 is that of the old run: pairs
		repetitions int
		change      func(*results.Trial)
		scenario    string
		metric      string
		want        float64 // change of exec-step
		method      string
	}{
		{"5% slower, pairs", 1, 16, slower(1.05), deadlock, "detect_ms", 0.05, "pairs"},
		{"5% slower, samples", 2, 40, slower(1.05), deadlock, "detect_ms", 0.05, "samples"},
		{"5% less progress, pairs", 1, 16, lessProgress, busy, "progress", -0.05, "pairs"},
		{"5% less progress, samples", 2, 40, lessProgress, busy, "progress", -0.05, "samples"},
		{"one violation more of each event, two pairs", 1, 2, oneMore, busy, "ept_per_event", 0.98, "exact pairs"},
		{"one violation more of each event, many pairs", 1, 12, oneMore, busy, "ept_per_event", 0.98, "exact pairs"},
		{"one violation more of each event, samples", 2, 12, oneMore, busy, "ept_per_event", 0.98, "samples"},
		{"nothing detected, two pairs", 1, 2, never, deadlock, "detected", -1, "exact pairs"},
		{"nothing detected, samples", 2, 12, never, deadlock, "detected", -1, "samples"},
		{"alarms, two pairs", 1, 2, alarms, busy, "false_alarm", 1, "exact pairs"},
		{"wrong class, two pairs", 1, 2, confused, deadlock, "right_class", -1, "exact pairs"},
		{"no recovery, two pairs", 1, 2, stuck, deadlock, "recovered", -1, "exact pairs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old := run("a", 1, madeup.Seeded(1, tc.repetitions))
			r := compareTrials(t, old, planted(tc.seed, tc.repetitions, tc.change), anyGate)
			row := r.find(t, tc.scenario, "exec-step", tc.metric)
			if row.Verdict != Worse || !row.Fails || !r.Failed() || row.Method != tc.method ||
				math.Abs(row.Change-tc.want) > 0.03 {
				t.Errorf("%+v: %s", row, r.Answer())
			}
			if rows := r.Table(false).Rows; len(rows) == 0 || !slices.Contains(rows[0], "WORSE") {
				t.Errorf("the regression is not the first row of %v", rows)
			}

			if tc.seed != 1 {
				return // the bootstrap takes its time, and the rest is the same for all
			}

			// The other way round it is better, and nothing fails.
			back := compareTrials(t, planted(tc.seed, tc.repetitions, tc.change), old, anyGate)
			if row := back.find(t, tc.scenario, "exec-step", tc.metric); row.Verdict != Better {
				t.Errorf("the other way round: %+v", row)
			}

			// It does not count where the gate names other metrics, or a larger
			// tolerance.
			other := compareTrials(t, old, planted(tc.seed, tc.repetitions, tc.change), Gate{DefaultTolerance,
				map[string]float64{"steps_per_event": -1}})
			if other.Failed() {
				t.Errorf("a gate on steps fails: %s", other.Answer())
			}
			large, err := Runs([]*results.Run{old}, []*results.Run{planted(tc.seed, tc.repetitions, tc.change)},
				Options{Gate: Gate{2, nil}, AllowMissing: true})
			if err != nil || large.Failed() {
				t.Errorf("a tolerance of 200%% fails: %v, %s", err, large.Answer())
			}
		})
	}
}

// TestTolerance: a change below the tolerance is the same.
func TestTolerance(t *testing.T) {
	old := run("a", 1, madeup.Trials(16))
	r := compareTrials(t, old, planted(1, 16, slower(1.02)), anyGate)
	if row := r.find(t, "spinlock-deadlock", "exec-step", "detect_ms"); row.Verdict != Same ||
		math.Abs(row.Change-0.02) > 1e-6 {
		t.Errorf("%+v", row)
	}
	r = compareTrials(t, old, planted(1, 16, slower(1.02)), Gate{DefaultTolerance, map[string]float64{"detect_ms": 0.01}})
	if row := r.find(t, "spinlock-deadlock", "exec-step", "detect_ms"); row.Verdict != Worse || !row.Fails {
		t.Errorf("with a tolerance of 1%%: %+v", row)
	}
}

// TestFew: a row that the trials are too few to decide is unclear and has a warning.
func TestFew(t *testing.T) {
	r := compareTrials(t, run("a", 1, madeup.Seeded(1, 2)), planted(2, 2, slower(1.5)), anyGate)
	row := r.find(t, "spinlock-deadlock", "exec-step", "detect_ms")
	if row.Verdict != Unclear || len(row.Warnings) == 0 {
		t.Errorf("%+v", row)
	}
	r = compareTrials(t, run("a", 1, madeup.Seeded(1, 2)), planted(1, 2, slower(1.5)), anyGate)
	row = r.find(t, "spinlock-deadlock", "exec-step", "detect_ms")
	if row.Verdict != Unclear || row.CI != nil || !strings.Contains(strings.Join(row.Warnings, " "), "needs 6 values") {
		t.Errorf("%+v", row)
	}
}

func TestMix(t *testing.T) {
	base := func() *results.Run { return run("a", 1, madeup.Trials(2)) }
	alter := func(change func(*results.Run)) *results.Run {
		r := base()
		change(r)
		return r
	}
	xen := alter(func(r *results.Run) {
		r.Manifest.Host.Kind = "xen"
		for i := range r.Trials {
			r.Trials[i].Host = "xen"
		}
	})
	for _, tc := range []struct {
		what string
		next *results.Run
		allow,
		wrong Options
	}{
		{"hosts", xen, Options{MixHosts: true}, Options{MixKernels: true, MixSuites: true}},
		{"hosts", alter(func(r *results.Run) { r.Manifest.Host.Description = "another machine" }),
			Options{MixHosts: true}, Options{MixKernels: true, MixSuites: true}},
		{"kernels", alter(func(r *results.Run) {
			for i := range r.Trials {
				r.Trials[i].GuestKernel = "6.1"
			}
		}), Options{MixKernels: true}, Options{MixHosts: true, MixSuites: true}},
		{"kernels", alter(func(r *results.Run) {
			for i := range r.Trials {
				r.Trials[i].Boot = "distro"
			}
		}), Options{MixKernels: true}, Options{MixHosts: true, MixSuites: true}},
		{"suites", alter(func(r *results.Run) { r.Manifest.Suite = results.NewSuiteInfo("other", nil) }),
			Options{MixSuites: true}, Options{MixHosts: true, MixKernels: true}},
		{"suites", alter(func(r *results.Run) {
			r.Manifest.Suite = results.NewSuiteInfo(madeup.Suite,
				[]byte("changed"))
		}), Options{MixSuites: true}, Options{MixHosts: true, MixKernels: true}},
	} {
		for _, o := range []Options{{}, tc.wrong} {
			var mix *MixError
			if _, err := Runs([]*results.Run{base()}, []*results.Run{tc.next}, o); !errors.As(err, &mix) ||
				mix.What != tc.what || !strings.Contains(err.Error(), "--mix "+tc.what) {
				t.Errorf("%s, %+v: %v", tc.what, o, err)
			}
		}
		tc.allow.Gate = anyGate
		r, err := Runs([]*results.Run{base()}, []*results.Run{tc.next}, tc.allow)
		if err != nil || len(r.Rows) < 20 || len(r.Warnings) == 0 {
			t.Errorf("%s allowed: %v", tc.what, err)
		}
	}
}

// TestXens: trials on two Xens of the lab are pairs. Those on two emulators, and on two real
// hosts, are samples.
func TestXens(t *testing.T) {
	t.Parallel()
	on := func(kind, emulator, xen string) *results.Run {
		r := run("a", 1, madeup.Trials(2))
		r.Manifest.Host = results.HostInfo{Kind: kind, Description: emulator + ", Xen " + xen + ", dom0 Linux 6.12"}
		r.Manifest.Versions.Packages = map[string]string{"xen": xen}
		for i := range r.Trials {
			r.Trials[i].Host = kind
			if xen != "4.20.4" { // one more violation per event
				r.Trials[i].EPT.Total += r.Trials[i].Events.Delivered
				r.Trials[i].EPT.Residual += r.Trials[i].Events.Delivered
			}
		}
		return r
	}
	old := on("lab", "Bochs 3.0", "4.20.4")
	for _, tt := range []struct {
		name   string
		next   *results.Run
		method string
	}{
		{"another Xen", on("lab", "Bochs 3.0", "4.20.5-pre (file:0123456789ab)"), "exact pairs"},
		{"another emulator too", on("lab", "Bochs 3.1", "4.17.7"), "samples"},
	} {
		r, err := Runs([]*results.Run{old}, []*results.Run{tt.next}, Options{MixHosts: true, Gate: anyGate})
		if err != nil {
			t.Fatal(err)
		}
		row := r.find(t, "spinlock-deadlock", "exec-step", "ept_per_event")
		if row.Method != tt.method || (row.Verdict == Worse) != (tt.method == "exact pairs") {
			t.Errorf("%s: %+v", tt.name, row)
		}
	}
	real := on("xen", "a Xeon", "4.20.4")
	r, err := Runs([]*results.Run{real}, []*results.Run{on("xen", "a Xeon", "4.21.1")}, Options{MixHosts: true})
	if err != nil || r.Paired {
		t.Errorf("two real hosts: pairs %v, %v", r.Paired, err)
	}
}

// TestVanished: a metric that new has no more fails a gate that counts it, unless it
// tells of harm that the monitor did.
func TestVanished(t *testing.T) {
	old, next := run("a", 1, madeup.Trials(4)), run("b", 1, madeup.Trials(4))
	for i := range old.Trials {
		old.Trials[i].BackOutNS = new(int64(5e6))
		old.Trials[i].AllClearNS = new(int64(5e6))
	}
	r := compareTrials(t, old, next, anyGate)
	if len(r.Missing) != 9 || r.Missing[0] != "spinlock-deadlock, none: old has all_clear_ms in 4 trials, new in none" ||
		!r.Failed() {
		t.Errorf("failed %v, missing %q", r.Failed(), r.Missing)
	}
	if r := compareTrials(t, old, next, Gate{Only: map[string]float64{"detected": -1}}); r.Failed() || len(r.Missing) > 0 {
		t.Errorf("a gate that does not count it: failed %v, missing %q", r.Failed(), r.Missing)
	}
	if r := compareTrials(t, next, old, anyGate); r.Failed() || len(r.Missing) > 0 {
		t.Errorf("a metric that is new: failed %v, missing %q", r.Failed(), r.Missing)
	}
}

// TestObserverRows: the time of each observer is compared, and a gate may name it.
func TestObserverRows(t *testing.T) {
	old, next := run("a", 1, madeup.Listened(8)), run("b", 1, madeup.Listened(8))
	for i := range next.Trials {
		for j := range next.Trials[i].Findings {
			if f := &next.Trials[i].Findings[j]; f.Observer == "soft-lockup" && f.AtNS != nil {
				f.AtNS = new(*f.AtNS + 2e9)
			}
		}
	}
	gate, err := ParseGate("soft-lockup_ms:1%", "3%")
	if err != nil {
		t.Fatal(err)
	}
	r := compareTrials(t, old, next, gate)
	row := r.find(t, "spinlock-deadlock", "exec-step", "soft-lockup_ms")
	if row.Verdict != Worse || !row.Fails || row.OldN != 8 || row.NewN != 8 || row.Unit != "ms" ||
		math.Abs(row.Change-2.0/25) > 0.01 {
		t.Errorf("%+v", row)
	}
	for i := range next.Trials {
		for j := range next.Trials[i].Findings {
			next.Trials[i].Findings[j].AtNS = nil
		}
	}
	if r := compareTrials(t, old, next, gate); !r.Failed() || len(r.Missing) != 3 {
		t.Errorf("an observer that reports no more: failed %v, missing %q", r.Failed(), r.Missing)
	}
	if gate, err = ParseGate("probe_ms", "3%"); err != nil {
		t.Fatal(err)
	}
	_, err = Runs([]*results.Run{old}, []*results.Run{next}, Options{Gate: gate})
	if err == nil || !strings.Contains(err.Error(), `no metric "probe_ms" in these runs`) ||
		!strings.Contains(err.Error(), "soft-lockup_ms") {
		t.Errorf("an observer that is not there: %v", err)
	}
}

func TestRunsRefuses(t *testing.T) {
	good := run("a", 1, madeup.Trials(1))
	empty := run("a", 1, nil)
	foreign := run("c", 1, madeup.Trials(1))
	foreign.Manifest.Host.Description = "another"
	other := run("d", 1, madeup.Trials(1)[:1])
	other.Trials[0].Scenario = "another"
	other.Manifest.Planned = 1
	again, second := run("b", 1, madeup.Trials(1)), run("e", 2, madeup.Seeded(2, 1))
	half := run("a", 1, madeup.Trials(1)[:4])
	for name, sides := range map[string][2][]*results.Run{
		"no old":          {nil, {good}},
		"no new":          {{good}, nil},
		"no trial":        {{good}, {empty}},
		"boots mixed":     {{good, foreign}, {good}},
		"nothing in both": {{good}, {other}},
		"a run twice":     {{good, good}, {second}},
		"a run's copy":    {{second}, {good, half}},
		"equal boots":     {{good, again}, {second}},
		"old is new":      {{good}, {good}},
		"old is in new":   {{good}, {second, good}},
	} {
		if r, err := Runs(sides[0], sides[1], Options{AllowMissing: true}); err == nil {
			t.Errorf("%s: %s", name, r.Answer())
		}
	}
	if _, err := Runs([]*results.Run{good}, []*results.Run{again}, Options{}); err != nil {
		t.Errorf("a run that gave the same again: %v", err)
	}
}

// TestIncomplete: a comparison fails because of missing trials, damaged records and missing
// cells, unless that is allowed or nothing fails. It says what is missing in any case.
func TestIncomplete(t *testing.T) {
	old, next := run("a", 1, madeup.Trials(4)), run("b", 1, madeup.Trials(4))
	next.Trials = slices.DeleteFunc(next.Trials, func(tr results.Trial) bool {
		return tr.Scenario == "control-idle" &&
			tr.Mechanism == "exec-step"
	})
	next.Bad = []error{errors.New("trials.jsonl:3: torn")}
	r := compareTrials(t, old, next, anyGate)
	want := []string{"new: b: 4 of 36 trials are missing, 1 damaged record is left out",
		"control-idle, exec-step: only old has trials"}
	const fails = "; FAILED because the runs cannot be compared as a whole"
	if !slices.Equal(r.Missing, want) || !r.Failed() || !strings.HasSuffix(r.Answer(), fails) {
		t.Errorf("missing %q, failed %v: %s", r.Missing, r.Failed(), r.Answer())
	}
	back := compareTrials(t, next, old, anyGate)
	want = []string{"old: b: 4 of 36 trials are missing, 1 damaged record is left out",
		"control-idle, exec-step: only new has trials"}
	if !slices.Equal(back.Missing, want) || !back.Failed() {
		t.Errorf("missing %q, failed %v", back.Missing, back.Failed())
	}
	for _, o := range []Options{{Gate: anyGate, AllowMissing: true}, {Gate: Gate{Only: map[string]float64{}}}} {
		r, err := Runs([]*results.Run{old}, []*results.Run{next}, o)
		if err != nil || len(r.Missing) != 2 || r.Failed() || !strings.HasSuffix(r.Answer(), "which is allowed") {
			t.Errorf("%+v: %v, missing %q, %s", o, err, r.Missing, r.Answer())
		}
	}
	// A damaged record beside those of all trials is a failure too: which is right?
	torn := run("c", 1, madeup.Trials(4))
	torn.Bad = next.Bad
	if r := compareTrials(t, old, torn, anyGate); len(r.Missing) != 1 || !r.Failed() {
		t.Errorf("missing %q, failed %v", r.Missing, r.Failed())
	}
	// Trials that are on one side only are not paired with others.
	half := run("b", 1, madeup.Trials(4)[18:])
	half.Manifest.Planned = 36
	if row := compareTrials(t, old, half, anyGate).find(t, "control-busy", "exec-step",
		"ept_total"); row.Change != 0 || row.OldN != 4 || row.NewN != 2 {
		t.Errorf("%+v", row)
	}
}

// TestBoots: several runs of one side are boots. If boots differ, the interval is wider.
func TestBoots(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	boots := func(base uint64) []*results.Run {
		var runs []*results.Run
		for i := range uint64(6) {
			shift := 1 + 0.2*rng.Float64()
			trials := madeup.Seeded(base+i, 6)
			for j := range trials {
				slower(shift)(&trials[j])
			}
			runs = append(runs, run(string(rune('a'+i)), base+i, trials))
		}
		return runs
	}
	old, next := boots(10), boots(20)
	r, err := Runs(old, next, Options{Gate: anyGate})
	if err != nil {
		t.Fatal(err)
	}
	row := r.find(t, "spinlock-deadlock", "exec-step", "detect_ms")
	pool := func(runs []*results.Run) *results.Run {
		var all []results.Trial
		for _, x := range runs {
			all = append(all, x.Trials...)
		}
		return run("pool", 1+uint64(len(all)), all)
	}
	p := pool(next)
	p.Manifest.Seed++
	one := compareTrials(t, pool(old), p, anyGate).find(t, "spinlock-deadlock", "exec-step", "detect_ms")
	if row.OldN != 36 || one.OldN != 36 || row.CI.Hi-row.CI.Lo < 1.5*(one.CI.Hi-one.CI.Lo) {
		t.Errorf("by boot %+v, pooled %+v", row.CI, one.CI)
	}
}

func TestVerdict(t *testing.T) {
	nan := math.NaN()
	lower, higher := analysis.Metric{Better: analysis.Lower}, analysis.Metric{Better: analysis.Higher}
	rate := analysis.Metric{Better: analysis.Higher, Assume: analysis.Rate}
	for _, tc := range []struct {
		name           string
		m              analysis.Metric
		change, lo, hi float64
		p              float64
		want           Verdict
	}{
		{"worse", lower, 0.05, 0.01, 0.09, 0.01, Worse},
		{"worse, exact", lower, 0.05, 0.01, 0.09, nan, Worse},
		{"worse, but many looked at", lower, 0.05, 0.01, 0.09, 0.2, Unclear},
		{"better", lower, -0.05, -0.09, -0.01, 0.01, Better},
		{"more is better", higher, 0.05, 0.01, 0.09, 0.01, Better},
		{"less is worse", higher, -0.05, -0.09, -0.01, 0.01, Worse},
		{"sure but small", lower, 0.02, 0.01, 0.04, 0.01, Unclear},
		{"sure and small", lower, 0.02, 0.01, 0.03, 0.01, Same},
		{"range beyond", lower, 0.05, 0.04, 0.09, -1, Worse},
		{"range not all beyond", lower, 0.05, 0.02, 0.09, -1, Unclear},
		{"range not all below", lower, -0.05, -0.09, -0.02, -1, Unclear},
		{"no change", lower, 0, 0, 0, nan, Same},
		{"wide", lower, 0.05, -0.1, 0.3, 0.6, Unclear},
		{"no interval", lower, 0.5, nan, nan, 0.001, Unclear},
		{"no number", lower, nan, nan, nan, nan, Unclear},
		{"from nothing, surely", lower, math.Inf(1), nan, nan, 0.001, Worse},
		{"from nothing, perhaps", lower, math.Inf(1), nan, nan, 0.5, Unclear},
		{"from nothing, exact", lower, math.Inf(1), math.Inf(1), math.Inf(1), nan, Worse},
		// 3% less is more than 1/1.03 - 1 = -2.9%; of shares it is just within.
		{"by ratio", higher, -0.0295, -0.0295, -0.0295, nan, Worse},
		{"by share", rate, -0.0295, -0.0295, -0.0295, nan, Same},
	} {
		row := Row{metric: tc.m, Change: tc.change, P: tc.p}
		if !math.IsNaN(tc.lo) {
			row.CI = &stats.Interval{Lo: tc.lo, Hi: tc.hi, Confidence: 0.95}
		}
		if tc.p < 0 { // all there is
			row.P, row.CI.Confidence = nan, 1
		}
		if got := row.verdict(0.03); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestParseGate(t *testing.T) {
	for _, tc := range []struct {
		list, tolerance string
		want            Gate
	}{
		{"any", "3%", Gate{0.03, nil}},
		{"none", "0%", Gate{0, map[string]float64{}}},
		{"detect_ms", "2.5%", Gate{0.025, map[string]float64{"detect_ms": -1}}},
		{"detect_ms:5%,ept_per_event:0%,false_alarm", "3%", Gate{0.03, map[string]float64{"detect_ms": 0.05,
			"ept_per_event": 0, "false_alarm": -1}}},
	} {
		g, err := ParseGate(tc.list, tc.tolerance)
		if err != nil || g.Tolerance != tc.want.Tolerance || !maps.Equal(g.Only, tc.want.Only) ||
			(g.Only == nil) != (tc.want.Only == nil) {
			t.Errorf("ParseGate(%q, %q) = %+v, %v", tc.list, tc.tolerance, g, err)
		}
	}
	for _, bad := range [][2]string{{"", "3%"}, {"any", "3"}, {"any", ""}, {"any", "-1%"}, {"any", "NaN%"}, {"speed",
		"3%"}, {"detect_ms:", "3%"}, {"detect_ms:5", "3%"}, {"detect_ms,detect_ms", "3%"}, {"any,detect_ms", "3%"},
		{"any", "1e9%"}} {
		if g, err := ParseGate(bad[0], bad[1]); err == nil {
			t.Errorf("ParseGate(%q, %q) = %+v", bad[0], bad[1], g)
		}
	}
	g := Gate{0.03, map[string]float64{"detect_ms": 0.05, "false_alarm": -1}}
	for _, name := range Names() {
		want := map[string]float64{"detect_ms": 0.05}[name]
		if want == 0 {
			want = 0.03
		}
		if g.tolerance(name) != want || g.counts(name) != (name == "detect_ms" || name == "false_alarm") {
			t.Errorf("%s: tolerance %g, counts %v", name, g.tolerance(name), g.counts(name))
		}
	}
}

func FuzzParseGate(f *testing.F) {
	f.Add("any", "3%")
	f.Add("_ms", "3%")
	f.Add("detect_ms:5%,false_alarm", "0%")
	f.Fuzz(func(t *testing.T, list, tolerance string) {
		g, err := ParseGate(list, tolerance)
		if err != nil {
			return
		}
		for _, name := range Names() {
			if x := g.tolerance(name); !(x >= 0 && x <= 10) {
				t.Errorf("%q, %q: tolerance of %s is %g", list, tolerance, name, x)
			}
		}
		for name := range g.Only {
			// Runs checks that the observer of such a metric is there.
			if observer, ok := strings.CutSuffix(name, "_ms"); !slices.Contains(Names(), name) && (!ok || observer == "") {
				t.Errorf("%q names %q", list, name)
			}
		}
	})
}

func TestTableGolden(t *testing.T) {
	next := planted(1, 8, func(tr *results.Trial) {
		oneMore(tr)
		slower(0.9)(tr)
		if tr.Block == 3 {
			alarms(tr)
		}
	})
	r := compareTrials(t, run("a", 1, madeup.Trials(8)), next, anyGate)
	for name, f := range map[string]table.Format{"planted.txt": table.Terminal, "planted.csv": table.CSV} {
		var out bytes.Buffer
		tab := r.Table(f == table.CSV)
		if f == table.Terminal {
			out.WriteString(r.Caption + "\n" + r.Answer() + "\n\n")
		}
		if err := tab.Write(&out, f); err != nil {
			t.Fatal(err)
		}
		golden.Compare(t, name, out.Bytes())
	}
}

// TestOverhead: a workload that takes 10% longer beside the monitor is worse.
func TestOverhead(t *testing.T) {
	slow := madeup.Workloads(16)
	for i := range slow {
		if slow[i].Mechanism == "none" {
			continue
		}
		for j := range slow[i].Workload.Windows {
			if w := &slow[i].Workload.Windows[j]; w.Monitor {
				w.NS += w.NS / 10
			}
		}
	}
	gate, err := ParseGate("overhead:5%", "3%")
	if err != nil {
		t.Fatal(err)
	}
	side := func(trials []results.Trial) []*results.Run {
		return []*results.Run{{Trials: trials, Manifest: results.Manifest{RunID: "made-up", Planned: len(trials),
			Suite: results.NewSuiteInfo(madeup.Suite, []byte("name: made-up\n")), Host: results.HostInfo{Kind: "lab"}}}}
	}
	r, err := Runs(side(madeup.Workloads(16)), side(slow), Options{Gate: gate, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, row := range r.Rows {
		if row.Metric != "overhead" {
			continue
		}
		n++
		want, change := Worse, 0.1
		if row.Arm == "none" {
			want, change = Same, 0
		}
		if row.Verdict != want || math.Abs(row.Change-change) > 0.001 || row.Fails != (want == Worse) {
			t.Errorf("%s, %s: %s, change %g, fails %v", row.Scenario, row.Arm, row.Verdict, row.Change, row.Fails)
		}
	}
	if n != 12 || !r.Failed() {
		t.Errorf("%d rows of overhead, failed %v", n, r.Failed())
	}
}
