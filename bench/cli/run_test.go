package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/bench/plan"
	"hangbench/bench/progress"
	"hangbench/bench/run"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// hostFunc is a host made of a function.
type hostFunc func(ctx context.Context, p plan.Trial) (results.Trial, error)

func (f hostFunc) Run(ctx context.Context, p plan.Trial, log *slog.Logger) (results.Trial, error) {
	log.Info("restore")
	return f(ctx, p)
}

// newRun makes a made-up run without trials.
func newRun(t *testing.T) *results.Store {
	t.Helper()
	store, err := createRun(t.TempDir(), "lab")
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// work runs a made-up run to its end as the command does, on that host, and
// returns what Main would.
func work(
	t *testing.T, ctx context.Context, store *results.Store, asJSON bool, f hostFunc,
) (status int, stdout, stderr string) {
	t.Helper()
	env, out, errs := testEnv()
	m := store.Manifest()
	_, trials, err := plan.Again(&m, vocabulary())
	if err != nil {
		t.Fatal(err)
	}
	host := &opened{Host: f, prepare: func(context.Context) error { return nil },
		bench: func() map[string]float64 { return map[string]float64{"made_up_sec": 1} }}
	a, _ := newApp(env, nil)
	err = (&experiment{host: host, jobs: 1, trials: trials, store: store, json: asJSON}).execute(ctx, a)
	err = errors.Join(err, a.file.Close())
	if err != nil && !errors.Is(err, exit.ErrFailed) {
		errs.WriteString("hangbench: " + err.Error() + "\n")
	}
	return exitStatus(ctx, err), out.String(), errs.String()
}

// TestSwept: an alarm that a sweep asks about is no failure.
func TestSwept(t *testing.T) {
	t.Parallel()
	store, err := createRunOf(t.TempDir(), "lab", madeUpSweep, madeUpStart)
	if err != nil {
		t.Fatal(err)
	}
	status, _, stderr := work(t, t.Context(), store, true, func(ctx context.Context, p plan.Trial) (results.Trial, error) {
		rec := madeUpRecord(p)
		if p.Scenario == "control-idle" && p.Block == 0 {
			rec.Outcome = results.FalseAlarm
		}
		return rec, nil
	})
	if status != exit.Done || !strings.Contains(stderr, "false_alarm; the run has taken") {
		t.Errorf("status %d:\n%s", status, stderr)
	}
}

func TestExecute(t *testing.T) {
	t.Parallel()
	good := func(ctx context.Context, p plan.Trial) (results.Trial, error) { return madeUpRecord(p), nil }
	// One record of the run that is not as it should be.
	with := func(scenario string, change func(*results.Trial)) hostFunc {
		return func(ctx context.Context, p plan.Trial) (results.Trial, error) {
			rec := madeUpRecord(p)
			if p.Scenario == scenario && p.Mechanism == "exec-step" && p.Block == 1 {
				change(&rec)
			}
			return rec, nil
		}
	}
	for _, tc := range []struct {
		name   string
		host   hostFunc
		status int
		want   string // on stderr
	}{
		{"good", good, exit.Done, "[8/8] trial 7 ("},
		{"missed", with("spinlock-deadlock", func(r *results.Trial) {
			r.Outcome, r.Class, r.Scope, r.DetectNS = results.Missed, "", "", nil
		}),
			exit.Done, "missed; the run has taken"},
		{"false alarm", with("control-idle", func(r *results.Trial) {
			r.Outcome, r.Evidence = results.FalseAlarm, []string{"it looked so"}
		}), exit.Failed, "(control-idle, exec-step) is a false alarm: [it looked so]\n"},
		{"invalid", with("control-idle", func(r *results.Trial) {
			r.Outcome, r.Reason = results.Invalid, "the monitor ended by itself"
		}), exit.Failed, "(control-idle, exec-step) is invalid: the monitor ended by itself\n"},
		{"mixed hosts", with("control-idle", func(r *results.Trial) { r.Host = "xen" }), exit.Broken,
			`ran on host "xen", the run is of "lab"`},
		{"broken", func(ctx context.Context, p plan.Trial) (results.Trial, error) {
			if p.Index == 2 {
				return results.Trial{}, errors.New("emulator died")
			}
			return madeUpRecord(p), nil
		}, exit.Broken, "hangbench: trial 2 ("},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			store := newRun(t)
			// Figures take their time; one case draws them.
			status, stdout, stderr := work(t, t.Context(), store, tc.name != "good", tc.host)
			if status != tc.status || !strings.Contains(stderr, tc.want) {
				t.Errorf("status %d, want %d; stderr should hold %q:\n%s", status, tc.status, tc.want, stderr)
			}
			if !strings.Contains(stdout, store.Dir()) {
				t.Errorf("what there is is not shown:\n%s", stdout)
			}
			r, err := results.ReadRun(store.Dir(), nil)
			if err != nil {
				t.Fatal(err)
			}
			whole := tc.status != exit.Broken
			if r.Manifest.Interrupted == whole || (len(r.Trials) == 8) != whole ||
				r.Manifest.Bench["made_up_sec"] != 1 || r.Manifest.Ended.IsZero() {
				t.Errorf("%d trials, manifest %+v", len(r.Trials), r.Manifest)
			}
			log, err := os.ReadFile(filepath.Join(store.Dir(), progress.FileName))
			if err != nil || strings.Count(string(log), " msg=restore trial=") < len(r.Trials) ||
				whole != strings.Contains(string(log), "done=8 total=8") {
				t.Errorf("%v, the log file is\n%s", err, log)
			}
			if s := r.Manifest.Sessions; len(s) != 1 || s[0].Jobs != 1 || s[0].Trials != len(r.Trials) ||
				s[0].CPUs < 1 || s[0].WallSec <= 0 {
				t.Errorf("sessions %+v of %d trials", s, len(r.Trials))
			}
		})
	}
}

// TestJudgeMixedHosts: records that cannot be grouped are an error, and not a run
// whose alarms all count.
func TestJudgeMixedHosts(t *testing.T) {
	t.Parallel()
	env, _, stderr := testEnv()
	a, _ := newApp(env, nil)
	r := &results.Run{}
	for _, p := range madeUpPlan() {
		rec := madeUpRecord(p)
		if p.Index == 3 {
			rec.Host = "xen"
		}
		r.Trials = append(r.Trials, rec)
	}
	if err := judge(a, r); exitStatus(t.Context(), err) != exit.Broken || stderr.Len() != 0 {
		t.Errorf("%v, %q", err, stderr)
	}
	r.Trials[3].Host = "lab"
	if err := judge(a, r); err != nil {
		t.Error(err)
	}
}

// TestExecuteJSON: standard output is one JSON document and nothing else.
func TestExecuteJSON(t *testing.T) {
	t.Parallel()
	store := newRun(t)
	status, stdout, _ := work(t, t.Context(), store, true, func(_ context.Context, p plan.Trial) (results.Trial, error) {
		return madeUpRecord(p), nil
	})
	var got struct {
		Schema           int
		Dir              string
		Manifest         results.Manifest
		Trials           []results.Trial
		Missing, Damaged *int
	}
	d := json.NewDecoder(strings.NewReader(stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if d.More() {
		t.Error("there is more than one document")
	}
	if status != exit.Done || got.Schema != 1 || got.Dir != store.Dir() || len(got.Trials) != 8 ||
		got.Manifest.RunID != store.Manifest().RunID || got.Missing == nil || *got.Missing != 0 || got.Damaged == nil ||
		*got.Damaged != 0 {
		t.Errorf("status %d, %+v", status, got)
	}
	for _, name := range []string{"overview.png", "report.html"} {
		if _, err := os.Stat(filepath.Join(store.Dir(), name)); err != nil {
			t.Errorf("a run with --json leaves what others do: %v", err)
		}
	}
}

// TestFullDisk: a full disk is said once, with what is kept and how to go on, and
// nothing more is written to it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	store := newRun(t)
	host := func(_ context.Context, p plan.Trial) (results.Trial, error) {
		if p.Index == 3 {
			full := &os.PathError{Op: "write", Path: "log", Err: unix.ENOSPC}
			return results.Trial{}, errors.Join(full, full)
		}
		return madeUpRecord(p), nil
	}
	status, stdout, stderr := work(t, t.Context(), store, false, host)
	want := "hangbench: trial 3 (control-idle, exec-step) failed 2 times: write log: no space left on device; " +
		"3 of 8 trials are kept; free some space, then go on with: hangbench resume " + store.Dir() + "\n"
	_, told, _ := strings.Cut(stderr, "hangbench: trial 3")
	if status != exit.Broken || "hangbench: trial 3"+told != want {
		t.Errorf("status %d, stderr %q, want it to end with %q", status, stderr, want)
	}
	if stdout != "" {
		t.Errorf("there is output: %q", stdout)
	}
	if files, _ := filepath.Glob(filepath.Join(store.Dir(), "overview*")); len(files) > 0 {
		t.Errorf("figures on a full disk: %v", files)
	}
}

// TestRunRemoved: a run whose folder is removed meanwhile says so in one sentence.
func TestRunRemoved(t *testing.T) {
	t.Parallel()
	store := newRun(t)
	host := func(_ context.Context, p plan.Trial) (results.Trial, error) {
		if p.Index == 3 {
			if err := os.RemoveAll(store.Dir()); err != nil {
				t.Error(err)
			}
		}
		return madeUpRecord(p), nil
	}
	status, stdout, stderr := work(t, t.Context(), store, false, host)
	want := "\nhangbench: the run's folder " + store.Dir() +
		" was removed while the run went on, and its records with it; run the suite anew\n"
	if status != exit.Broken || stdout != "" || !strings.HasSuffix(stderr, want) {
		t.Errorf("status %d, stdout %q, stderr %q, want it to end with %q", status, stdout, stderr, want)
	}
}

// TestInterruptedReport: who interrupts the report of a whole run is told how to have it.
func TestInterruptedReport(t *testing.T) {
	t.Parallel()
	store := newRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	env, _, _ := testEnv()
	a, _ := newApp(env, nil)
	trials := madeUpPlan()
	host := &opened{prepare: func(context.Context) error { return nil },
		Host: hostFunc(func(_ context.Context, p plan.Trial) (results.Trial, error) { return madeUpRecord(p), nil }),
		// The host is asked for its figures when the trials are done.
		bench: func() map[string]float64 { cancel(); return nil }}
	err := (&experiment{host: host, jobs: 1, trials: trials, store: store}).execute(ctx, a)
	want := "interrupted with all 8 trials done; write the report with: hangbench report " + store.Dir()
	if err == nil || err.Error() != want || exitStatus(ctx, err) != exit.Interrupted {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestInterrupted: what was finished is shown and kept, the message says how to
// go on, and going on gives what one go would have.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	good := func(ctx context.Context, p plan.Trial) (results.Trial, error) { return madeUpRecord(p), nil }
	whole := newRun(t)
	work(t, t.Context(), whole, true, good)

	store := newRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	status, stdout, stderr := work(t, ctx, store, false, func(ctx context.Context, p plan.Trial) (results.Trial, error) {
		if p.Index == 3 {
			cancel()
			return results.Trial{}, ctx.Err()
		}
		return madeUpRecord(p), nil
	})
	want := "hangbench: interrupted with 3 of 8 trials done, which are kept; go on with: hangbench resume " +
		store.Dir() + "\n"
	if status != exit.Interrupted || !strings.HasSuffix(stderr, want) {
		t.Errorf("status %d, stderr %q, want it to end with %q", status, stderr, want)
	}
	if !strings.Contains(stdout, "5 of 8 trials are missing.") {
		t.Errorf("stdout does not tell what is missing:\n%s", stdout)
	}
	store, err := results.Resume(store.Dir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _, stderr = work(t, t.Context(), store, true, good)
	if status != exit.Done || !strings.HasPrefix(stderr, "[4/8] trial 3 (") {
		t.Errorf("resumed: status %d, stderr %q", status, stderr)
	}
	var files [2][]byte
	for i, s := range []*results.Store{whole, store} {
		if files[i], err = os.ReadFile(filepath.Join(s.Dir(), results.TrialsFile)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Errorf("an interrupted and resumed run differs from one in one go:\n%s\n%s", files[0], files[1])
	}
}

// TestSetDrivers: the drivers that the user names replace the suite's, in the plan
// and in the manifest, and a resumed run has them again.
func TestSetDrivers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		drivers []string
		want    string
		fails   string
	}{
		{nil, "[xenctrl]", ""},
		{[]string{"libvmi"}, "[libvmi]", ""},
		{[]string{"libvmi", "xenctrl"}, "[libvmi xenctrl]", ""},
		{[]string{"libvirt"}, "", "--driver libvirt: there are xenctrl, libvmi"},
		{[]string{"libvmi", "libvmi"}, "", "--driver libvmi: it is there twice"},
	} {
		s, err := suites.Parse(madeUp+".yaml", []byte(madeUpSuite), vocabulary())
		if err != nil {
			t.Fatal(err)
		}
		err = setDrivers(s, tc.drivers)
		if tc.fails != "" {
			if exitStatus(t.Context(), err) != exit.Usage || err.Error() != tc.fails {
				t.Errorf("%v: %v, want %s", tc.drivers, err, tc.fails)
			}
			continue
		}
		if err != nil || fmt.Sprint(s.Drivers) != tc.want {
			t.Errorf("%v: drivers %v, %v", tc.drivers, s.Drivers, err)
		}
		start := run.Start{Suite: s, Seed: 3, Plan: plan.Expand(s, 3), Host: results.HostInfo{Kind: "lab"}}
		store, err := run.Create(t.TempDir(), start)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Close(time.Now()); err != nil {
			t.Fatal(err)
		}
		m, err := results.ReadRun(store.Dir(), nil)
		if err != nil || fmt.Sprint(m.Manifest.Suite.Drivers) != tc.want || m.Manifest.Suite.Text != madeUpSuite {
			t.Errorf("%v: the manifest has %+v, %v", tc.drivers, m.Manifest.Suite, err)
		}
		again, err := suites.Parse(madeUp+".yaml", []byte(m.Manifest.Suite.Text), vocabulary())
		if err != nil {
			t.Fatal(err)
		}
		if err := setDrivers(again, m.Manifest.Suite.Drivers); err != nil {
			t.Fatal(err)
		}
		if hash, err := plan.Hash(plan.Expand(again, 3)); err != nil || hash != m.Manifest.PlanHash {
			t.Errorf("%v: the resumed plan is another one (%v)", tc.drivers, err)
		}
	}
}

// TestFigures: the manifest gets the times that were measured, rounded to
// milliseconds, and no others.
func TestFigures(t *testing.T) {
	t.Parallel()
	if got := figures(labhost.Times{}); len(got) != 0 {
		t.Errorf("nothing was measured: %v", got)
	}
	got := figures(labhost.Times{ColdBootSec: 31.23456, GuestBootSec: 12.0004, Restores: []float64{0.9, 0.3, 0.5004, 0.4}})
	want := map[string]float64{"cold_boot_sec": 31.235, "guest_boot_sec": 12, "restore_median_sec": 0.45,
		"restore_max_sec": 0.9}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
