package export

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"hangbench/analysis/golden"
	"hangbench/analysis/internal/madeup"
	"hangbench/results"
)

func testRun(repetitions int) *results.Run {
	trials := madeup.Trials(repetitions)
	return &results.Run{Trials: trials, Manifest: results.Manifest{
		RunID: "made-up-1", Seed: 1, Planned: len(trials), Suite: results.NewSuiteInfo(madeup.Suite,
			[]byte("name: made-up\n")),
		Host:     results.HostInfo{Kind: "lab", Description: "made up for tests"},
		Versions: results.Versions{Hangbench: "abc123"},
	}}
}

// read parses the text strictly.
func read(t *testing.T, text []byte) ([]*benchfmt.Result, map[benchfmt.UnitMetadataKey]string) {
	t.Helper()
	var all []*benchfmt.Result
	units := make(map[benchfmt.UnitMetadataKey]string)
	r := benchfmt.NewReader(bytes.NewReader(text), "test")
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			all = append(all, rec.Clone())
		case *benchfmt.UnitMetadata:
			units[rec.UnitMetadataKey] = rec.Value
		case *benchfmt.SyntaxError:
			t.Fatal(rec)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	return all, units
}

func TestWrite(t *testing.T) {
	run := testRun(3)
	run.Bad = []error{errors.New("trials.jsonl:5: torn")}
	run.Manifest.Planned++
	var out bytes.Buffer
	if err := Write(&out, run); err != nil {
		t.Fatal(err)
	}
	all, meta := read(t, out.Bytes())
	var valid []results.Trial
	for _, tr := range run.Trials {
		if tr.Outcome != results.Invalid {
			valid = append(valid, tr)
		}
	}
	if len(all) != len(valid) {
		t.Fatalf("%d results of %d valid trials", len(all), len(valid))
	}
	for i, r := range all {
		tr := &valid[i]
		if want := "Trial/scenario=" + tr.Scenario + "/mechanism=" + tr.Mechanism +
			"/"; !strings.HasPrefix(string(r.Name), want) {
			t.Errorf("trial %d: name %s", tr.Trial, r.Name)
		}
		for key, want := range map[string]string{"host": "lab", "machine": "made up for tests", "suite": "made-up",
			"seed": "", "run": ""} {
			if got := r.GetConfig(key); got != want {
				t.Errorf("trial %d: %s is %q, want %q", tr.Trial, key, got, want)
			}
		}
		sec, ok := r.Value("detect-sec")
		if ok != (tr.DetectNS != nil) || ok && sec != float64(*tr.DetectNS)/1e9 {
			t.Errorf("trial %d: detected after %g s, %v", tr.Trial, sec, ok)
		}
		if x, ok := r.Value("EPT-violations/trial"); !ok || x != float64(tr.EPT.Total) {
			t.Errorf("trial %d: %g violations, %v, want %d", tr.Trial, x, ok, tr.EPT.Total)
		}
		if x, ok := r.Value("detected/trial"); tr.Outcome == results.Missed && tr.Mechanism != "none" && (!ok || x != 0) {
			t.Errorf("trial %d: a miss is %g, %v", tr.Trial, x, ok)
		}
	}
	if head := "# run made-up-1; seed 1; hangbench abc123\n# left out: 1 invalid trials, 1 missing, 1 damaged " +
		"records\n"; !strings.HasPrefix(out.String(), head) {
		t.Errorf("the file begins with %.120s", out.String())
	}
	if got := meta[benchfmt.UnitMetadataKey{Unit: "progress", Key: "better"}]; got != "higher" {
		t.Errorf("better progress is %q", got)
	}
}

// TestName: trials that are not to be averaged have different names.
func TestName(t *testing.T) {
	plain := results.Trial{Cell: results.Cell{Scenario: "spinlock-deadlock", Arm: results.Arm{Mechanism: "poll",
		Driver: "xenctrl"}, Machine: results.Machine{GuestKernel: "6.12", VCPUs: 1, MemoryMiB: 160}}}
	bounded, watched := plain, plain
	bounded.BoundedMS = 2500
	watched.Watchdogs = "minimum"
	for _, tt := range []struct {
		trial results.Trial
		want  string
	}{
		{plain, "Trial/scenario=spinlock-deadlock/mechanism=poll/driver=xenctrl/guest_kernel=6.12/vcpus=1/memory_mib=160"},
		{bounded,
			"Trial/scenario=spinlock-deadlock+2.5s/mechanism=poll/driver=xenctrl/guest_kernel=6.12/vcpus=1/memory_mib=160"},
		{watched,
			"Trial/scenario=spinlock-deadlock/mechanism=poll/driver=xenctrl/guest_kernel=6.12/watchdogs=minimum" +
				"/vcpus=1/memory_mib=160"},
	} {
		if got := name(&tt.trial); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

func TestWriteGolden(t *testing.T) {
	var out bytes.Buffer
	if err := Write(&out, testRun(1)); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "one.bench", out.Bytes())
}

// FuzzWrite: text from a record never becomes a line or a value of its own.
func FuzzWrite(f *testing.F) {
	f.Add("spinlock-deadlock", "lab")
	f.Add("a b/c=d\nBenchmarkEvil 1 2 ns/op", "x\ny: z")
	f.Add("é-1", "\x00\r")
	f.Fuzz(func(t *testing.T, name, description string) {
		run := testRun(1)
		run.Trials[0].Scenario, run.Trials[1].Mechanism, run.Trials[2].GuestKernel = name, name, name
		run.Manifest.Host.Description, run.Manifest.RunID = description, name
		var out bytes.Buffer
		if err := Write(&out, run); err != nil {
			t.Fatal(err)
		}
		all, _ := read(t, out.Bytes())
		if len(all) != len(run.Trials) {
			t.Fatalf("%d results of %d trials", len(all), len(run.Trials))
		}
		for i, r := range all {
			if x, ok := r.Value("EPT-violations/trial"); !ok || x != float64(run.Trials[i].EPT.Total) {
				t.Fatalf("trial %d: %g, %v", i, x, ok)
			}
		}
	})
}

// failing is a disk that is full.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteFails(t *testing.T) {
	if err := Write(failing{}, testRun(1)); err == nil {
		t.Error("writing to a full disk succeeds")
	}
}

// TestWatchdogs: what the guest's own watchdogs reported is in the lines of the
// trials that listened, and nothing of those that are not there.
func TestWatchdogs(t *testing.T) {
	run := testRun(2)
	run.Trials = madeup.Listened(2)
	var out bytes.Buffer
	if err := Write(&out, run); err != nil {
		t.Fatal(err)
	}
	all, meta := read(t, out.Bytes())
	if meta[benchfmt.UnitMetadataKey{Unit: "soft-lockup-sec", Key: "better"}] != "lower" {
		t.Errorf("units %v", meta)
	}
	sums := make(map[string]float64)
	counts := make(map[string]int)
	for _, r := range all {
		for _, v := range r.Values {
			sums[v.Unit] += v.Value
			counts[v.Unit]++
		}
	}
	for _, tc := range []struct {
		unit  string
		n     int
		total float64
	}{
		{"soft-lockup-sec", 6, 3*21.5 + 3*22.5}, {"soft-lockup-reported/trial", 6, 6},
		{"rcu-stall-sec", 1, 23.5}, {"rcu-stall-reported/trial", 6, 1}, {"hard-lockup-sec", 0, 0},
		{"hard-lockup-reported/trial", 0, 0},
	} {
		if counts[tc.unit] != tc.n || sums[tc.unit] != tc.total {
			t.Errorf("%s: %d values, %g in all, want %d and %g", tc.unit, counts[tc.unit], sums[tc.unit], tc.n, tc.total)
		}
	}
}

// TestWorkloads: a workload's times and their ratio are there, and nothing of the
// kind in other trials.
func TestWorkloads(t *testing.T) {
	run := testRun(1)
	run.Trials = append(run.Trials, madeup.Workloads(1)...)
	var out bytes.Buffer
	if err := Write(&out, run); err != nil {
		t.Fatal(err)
	}
	all, _ := read(t, out.Bytes())
	n := 0
	for _, r := range all {
		with, ok := r.Value("sec/op-with")
		if workload := strings.Contains(string(r.Name), "scenario=workload-"); ok != workload {
			t.Errorf("%s: sec/op-with %v", r.Name, ok)
		}
		if !ok {
			continue
		}
		n++
		without, _ := r.Value("sec/op-without")
		ratio, _ := r.Value("overhead-with/without")
		if without <= 0 || ratio <= 0 || with/without/ratio < 1-1e-9 || with/without/ratio > 1+1e-9 {
			t.Errorf("%s: %g s with, %g s without, ratio %g", r.Name, with, without, ratio)
		}
	}
	if n != 12 {
		t.Errorf("%d workloads", n)
	}
}
