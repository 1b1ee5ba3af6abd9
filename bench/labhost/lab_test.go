package labhost_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/labhost"
	"hangbench/bench/names"
	"hangbench/bench/plan"
	"hangbench/bench/progress"
	"hangbench/bench/run"
	"hangbench/cgo/require"
	"hangbench/guests/lab"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// openLab builds the lab from this source, or finds it in the cache. Without
// HANGBENCH_TEST_LAB the test is skipped: it needs packages and minutes.
func openLab(t *testing.T) (context.Context, *labhost.Host, *progress.Warnings) {
	t.Helper()
	return openLabWith(t, nil)
}

// openLabWith opens the lab that has a LibVMI of this machine, if one is given.
func openLabWith(t *testing.T, vmi *lab.LibVMI) (context.Context, *labhost.Host, *progress.Warnings) {
	t.Helper()
	if os.Getenv("HANGBENCH_TEST_LAB") == "" {
		require.Missing(t, require.Lab, "set HANGBENCH_TEST_LAB=1 to run the tests in the emulated Xen host (make test does)")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	t.Cleanup(stop)
	cache, err := lab.FindCache("", os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	options := lab.Options{
		Cache: cache, Source: filepath.Join("..", ".."), LibVMI: vmi, Fields: dom0.Fields(), Mirror: os.Getenv("HANGBENCH_DEBIAN_MIRROR"),
		Log: slog.New(slog.DiscardHandler),
	}
	l, err := lab.Build(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &progress.Warnings{}
	h, err := labhost.New(ctx, l, logTo(t, w))
	if err != nil {
		t.Fatal(err)
	}
	h.Variant = func(ctx context.Context, v lab.Variant) (*lab.Lab, error) {
		other := options
		other.Variant = v
		return lab.Build(ctx, other)
	}
	t.Cleanup(func() { h.Close() })
	return ctx, h, w
}

// long skips a test that takes minutes of the lab, unless all are asked for.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("HANGBENCH_TEST_LAB") != "all" {
		require.Missing(t, require.LabAll, "set HANGBENCH_TEST_LAB=all to run the long tests in the emulated Xen host")
	}
}

// logTo returns a logger that writes to the test's log, and to w.
func logTo(t *testing.T, w *progress.Warnings) *slog.Logger {
	return slog.New(slog.NewMultiHandler(slog.NewTextHandler(t.Output(), nil), w))
}

func ciPlan(t *testing.T) (*suites.Suite, []plan.Trial) {
	t.Helper()
	return suitePlan(t, "ci")
}

func suitePlan(t *testing.T, name string) (*suites.Suite, []plan.Trial) {
	t.Helper()
	s, err := suites.Load(name, names.Suites(lab.GuestKernels(), lab.GuestPrograms()))
	if err != nil {
		t.Fatal(err)
	}
	return s, plan.Expand(s, 1)
}

// runPlan runs the trials and returns the run's folder.
func runPlan(t *testing.T, ctx context.Context, h *labhost.Host, s *suites.Suite, trials []plan.Trial, jobs int) *results.Run {
	t.Helper()
	now := time.Now()
	store, err := results.Create(t.TempDir(), results.Manifest{RunID: results.RunID(s.Name, 1, now), Suite: results.NewSuiteInfo(s.Name, s.Text),
		Seed: 1, Planned: len(trials), Host: results.HostInfo{Kind: "lab"}, Started: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Run(ctx, run.Options{Host: h, Plan: trials, Store: store, Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(time.Now()); err != nil {
		t.Fatal(err)
	}
	r, err := results.ReadRun(store.Dir())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestTrials runs the ci suite on a real Xen with a real guest: the deadlock is
// seen by every mechanism, with its lock by name, and lifted again; the idle guest
// is left alone; EPT violations and events agree.
func TestTrials(t *testing.T) {
	ctx, h, _ := openLab(t)
	s, trials := ciPlan(t)
	r := runPlan(t, ctx, h, s, trials, 2)
	if len(r.Trials) != len(trials) || len(r.Bad) > 0 {
		t.Fatalf("%d of %d trials, bad records: %v", len(r.Trials), len(trials), r.Bad)
	}
	for _, tr := range r.Trials {
		name := tr.Scenario + ", " + tr.Mechanism
		want := results.Clean
		if tr.Scenario == "spinlock-deadlock" {
			want = results.Detected
			if tr.Class != "spin" || tr.Scope != "full" {
				t.Errorf("%s: %s %s hang, want a full spin", name, tr.Scope, tr.Class)
			}
			if e := strings.Join(tr.Evidence, "\n"); !strings.Contains(e, "queued_read_lock_slowpath") || !strings.Contains(e, "tasklist_lock") {
				t.Errorf("%s: the evidence does not name the lock:\n%s", name, e)
			}
			if tr.Recovered == nil || !*tr.Recovered {
				t.Errorf("%s: the guest did not recover", name)
			}
		}
		if tr.Outcome != want {
			t.Errorf("%s: %s (%s), want %s", name, tr.Outcome, tr.Reason, want)
		}
		if tr.Host != "lab" {
			t.Errorf("%s: host %q", name, tr.Host)
		}
		if tr.Events.Delivered == 0 || tr.Events.Steps == 0 {
			t.Errorf("%s: no events: the trap was not armed", name)
		}
		// Every violation on the trapped frame is an event, and nothing is lost.
		if tr.EPT.Permission != tr.Events.Delivered || tr.EPT.Suppressed != 0 || tr.EPT.TraceLost != 0 || tr.EPT.Residual != 0 {
			t.Errorf("%s: %d events, EPT violations %+v", name, tr.Events.Delivered, tr.EPT)
		}
		if altp2m := tr.Mechanism == "exec-altp2m"; altp2m != (tr.EPT.Lazy > 0) {
			t.Errorf("%s: %d lazy copies", name, tr.EPT.Lazy)
		}
		if tr.Guest.BeatsAfter < 2 {
			t.Errorf("%s: %d heartbeats after detaching", name, tr.Guest.BeatsAfter)
		}
	}
}

// TestDeterminism: the same suite and seed give byte-identical records, whether
// trials run one by one or side by side, and also in a lab that was booted anew.
func TestDeterminism(t *testing.T) {
	ctx, h, _ := openLab(t)
	s, trials := ciPlan(t)
	read := func(jobs int) []byte {
		b, err := os.ReadFile(filepath.Join(runPlan(t, ctx, h, s, trials, jobs).Dir, results.TrialsFile))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	one, two := read(1), read(2)
	if !bytes.Equal(one, two) {
		t.Errorf("one job and two jobs differ:\n%s\n%s", one, two)
	}
	if err := os.RemoveAll(filepath.Join(h.Lab.Dir, "snapshots")); err != nil {
		t.Fatal(err)
	}
	if anew := read(2); !bytes.Equal(one, anew) {
		t.Errorf("a lab booted anew differs:\n%s\n%s", one, anew)
	}
}

// TestDamagedSnapshot: a snapshot that cannot be restored is made anew, with a
// warning, and the trial runs all the same.
func TestDamagedSnapshot(t *testing.T) {
	ctx, h, w := openLab(t)
	_, trials := ciPlan(t)
	if _, err := h.Guest(ctx, trials[0].Machine); err != nil {
		t.Fatal(err)
	}
	cpus, err := filepath.Glob(filepath.Join(h.Lab.Dir, "snapshots", "guest-*", "state", "cpu0"))
	if err != nil || len(cpus) != 1 {
		t.Fatalf("%d snapshots of a guest, want 1 (%v)", len(cpus), err)
	}
	st, err := os.Stat(cpus[0])
	if err != nil {
		t.Fatal(err)
	}
	// Of the right size and full of rubbish: it passes for whole until it is used.
	if err := os.Chmod(cpus[0], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cpus[0], bytes.Repeat([]byte("rubbish\n"), int(st.Size())/8+1)[:st.Size()], 0o600); err != nil {
		t.Fatal(err)
	}
	rec, err := h.Run(ctx, trials[0], slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("with a damaged snapshot: %v", err)
	}
	if rec.Outcome == results.Invalid {
		t.Errorf("invalid: %s", rec.Reason)
	}
	if len(w.Texts()) == 0 {
		t.Error("a damaged snapshot was replaced without a warning")
	}
}

// TestDom0: programs run in dom0, and hangbench there finds a real Xen with
// altp2m and can run trials on it as on any Xen host.
func TestDom0(t *testing.T) {
	ctx, h, _ := openLab(t)
	m, err := h.Up(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out, err := m.Exec([]string{"/init", "doctor"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok      dom0", "ok      Xen", "ok      altp2m", "built with the Xen libraries"} {
		if !strings.Contains(out.Text, want) {
			t.Errorf("doctor in dom0 does not say %q:\n%s", want, out.Text)
		}
	}
	if out, err := m.Exec([]string{"xl", "no-such-command"}); err != nil || out.Status == 0 {
		t.Errorf("a failing program: status %d, %v", out.Status, err)
	}
	if _, err := m.Exec([]string{"/no/such/program"}); err == nil {
		t.Error("a program that is not there ran")
	}
}

// upGuest starts a machine with a guest as the ci suite has it.
func upGuest(t *testing.T) *labhost.Machine {
	t.Helper()
	ctx, h, _ := openLab(t)
	_, trials := ciPlan(t)
	m, err := h.UpGuest(ctx, trials[0].Machine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestKill: a monitor that is killed at a random instant, with every mechanism,
// leaves a guest that is recovered; one that is told to end leaves nothing to
// recover.
func TestKill(t *testing.T) {
	long(t)
	m := upGuest(t)
	for _, args := range [][]string{{"--seeds", "2"}, {"--seeds", "1", "--signal", "TERM"}, {"--seeds", "1", "--signal", "INT"}} {
		out, err := m.Exec(append([]string{"/init", "bench", "kill", "--inside", "guest"}, args...))
		if err != nil {
			t.Fatal(err)
		}
		n := args[1]
		for _, mech := range trap.Mechanisms() {
			found := false
			for line := range strings.Lines(out.Text) {
				f := strings.Fields(line)
				found = found || len(f) > 4 && f[0] == mech.Name && f[1] == n && f[3] == n
			}
			if !found {
				t.Errorf("%v: not %s of %s with %s", args, n, n, mech.Name)
			}
		}
		if t.Failed() || out.Status != 0 {
			t.Fatalf("%v: status %d\n%s", args, out.Status, out.Text)
		}
	}
}

// TestWatch: the monitor on a guest that is there says that it is attached and
// what it counted, and a guest in order is recovered without harm.
func TestWatch(t *testing.T) {
	long(t)
	m := upGuest(t)
	run := func(status int, want string, argv ...string) {
		t.Helper()
		out, err := m.Exec(argv)
		if err != nil {
			t.Fatal(err)
		}
		if out.Status != status || !strings.Contains(out.Text, want) {
			t.Errorf("%v: status %d, want %d and %q:\n%s", argv, out.Status, status, want, out.Text)
		}
	}
	run(0, `"event":"detached"`, "/init", "watch", "guest", "--mechanism", "exec-step", "--duration", "2s", "--json")
	run(0, "attached to domain 1 with poll", "/init", "watch", "1", "--duration", "1s")
	run(2, "no such domain", "/init", "watch", "nobody")
	run(2, "none of the kernels", "/init", "watch", "guest", "--guests", "/tmp")
	run(0, "ring free ok, altp2m off ok, no step ok, no trap ok, not paused ok", "/init", "recover", "guest")
	run(0, `"recovered": []`, "/init", "recover", "--all", "--json")
}
