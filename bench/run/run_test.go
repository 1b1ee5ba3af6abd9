package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// hostFunc is a Host made of a function.
type hostFunc func(ctx context.Context, t plan.Trial) (results.Trial, error)

func (f hostFunc) Run(ctx context.Context, t plan.Trial, log *slog.Logger) (results.Trial, error) {
	log.Info("running")
	return f(ctx, t)
}

// records is a slog.Handler that writes down records but for details: the level, the
// message without the time in it, and the attributes without scenario and mechanism.
type records struct{ text strings.Builder }

func (r *records) Enabled(context.Context, slog.Level) bool { return true }
func (r *records) WithGroup(string) slog.Handler            { return r }

func (r *records) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &trialRecords{r, attrs}
}

func (r *records) Handle(_ context.Context, rec slog.Record) error { return r.write(rec, nil) }

func (r *records) write(rec slog.Record, more []slog.Attr) error {
	message, _, _ := strings.Cut(rec.Message, "; the run has taken ")
	if rec.Level < slog.LevelInfo {
		return nil
	}
	fmt.Fprintf(&r.text, "%v %s", rec.Level, message)
	rec.AddAttrs(more...)
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key != "scenario" && a.Key != "mechanism" {
			fmt.Fprintf(&r.text, " %v", a)
		}
		return true
	})
	r.text.WriteByte('\n')
	return nil
}

// trialRecords are the records of one trial.
type trialRecords struct {
	*records
	attrs []slog.Attr
}

func (r *trialRecords) Handle(_ context.Context, rec slog.Record) error { return r.write(rec, r.attrs) }

func record(t plan.Trial) results.Trial {
	return results.Trial{Schema: results.Schema, Suite: t.Suite, Trial: t.Index, Block: t.Block, Host: "lab", Seed: t.Seed,
		Cell: results.Cell{Scenario: t.Scenario, Kind: results.Control, Arm: t.Arm,
			Machine: results.Machine{Kernel: "k", GuestKernel: "k", VCPUs: 1, MemoryMiB: 160}},
		Outcome: results.Clean, WindowNS: 1}
}

func testPlan(n int) []plan.Trial {
	return plan.Expand(&suites.Suite{Name: "test", Scenarios: []string{"control-idle"}, Mechanisms: []string{"none"},
		Drivers: []string{"xenctrl"}, Guests: []suites.Guest{{Kernel: "k", VCPUs: 1, MemoryMiB: 160}}, Repetitions: n}, 7)
}

func newStore(t *testing.T, planned int) *results.Store {
	t.Helper()
	now := time.Now()
	s, err := results.Create(t.TempDir(), results.Manifest{RunID: results.RunID("test", 7, now), Seed: 7, Planned: planned,
		Suite: results.NewSuiteInfo("test", nil), Host: results.HostInfo{Kind: "lab"}, Started: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOrder: several jobs and trials of random length give the file that one
// job gives.
func TestOrder(t *testing.T) {
	t.Parallel()
	var files [2]string
	for i, jobs := range []int{1, 4} {
		p := testPlan(30)
		s := newStore(t, len(p))
		host := hostFunc(func(ctx context.Context, p plan.Trial) (results.Trial, error) {
			if jobs > 1 {
				time.Sleep(time.Duration(p.Seed%5) * time.Millisecond)
			}
			return record(p), nil
		})
		err := Run(t.Context(), Options{Plan: p, Store: s, Jobs: jobs, Host: host})
		if err != nil {
			t.Fatal(err)
		}
		s.Close(time.Now())
		b, err := os.ReadFile(filepath.Join(s.Dir(), results.TrialsFile))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = string(b)
	}
	if files[0] != files[1] || len(files[0]) == 0 {
		t.Errorf("1 job and 4 jobs differ:\n%s\n%s", files[0], files[1])
	}
}

// TestInterruptAndResume: an interrupted run goes on without repeating a trial.
func TestInterruptAndResume(t *testing.T) {
	t.Parallel()
	p := testPlan(10)
	s := newStore(t, len(p))
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	ran := map[int]int{}
	host := hostFunc(func(ctx context.Context, p plan.Trial) (results.Trial, error) {
		mu.Lock()
		ran[p.Index]++
		if len(ran) == 4 {
			cancel()
		}
		mu.Unlock()
		return record(p), nil
	})
	if err := Run(ctx, Options{Plan: p, Store: s, Jobs: 2, Host: host}); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted run: %v", err)
	}
	s.Close(time.Now())
	s, err := results.Resume(s.Dir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), Options{Plan: p, Store: s, Jobs: 2, Host: host}); err != nil {
		t.Fatal(err)
	}
	s.Close(time.Now())
	r, err := results.ReadRun(s.Dir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Trials) != 10 || r.Manifest.Interrupted {
		t.Errorf("%d trials, interrupted %v", len(r.Trials), r.Manifest.Interrupted)
	}
	for i, n := range ran {
		if n != 1 {
			t.Errorf("trial %d ran %d times", i, n)
		}
	}
}

// TestImpossible: a record that cannot be becomes an invalid trial, which says why. The
// run goes on.
func TestImpossible(t *testing.T) {
	t.Parallel()
	p := testPlan(2)
	s := newStore(t, len(p))
	err := Run(t.Context(), Options{Plan: p, Store: s, Host: hostFunc(
		func(ctx context.Context, p plan.Trial) (results.Trial, error) {
			rec := record(p)
			if p.Index == 0 {
				rec.Guest.BeatsAfter = 1 << 63
			}
			return rec, nil
		})})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(time.Now()); err != nil {
		t.Fatal(err)
	}
	r, err := results.ReadRun(s.Dir(), nil)
	if err != nil || len(r.Trials) != 2 {
		t.Fatalf("%d trials, %v", len(r.Trials), err)
	}
	got, other := r.Trials[0], r.Trials[1]
	if got.Outcome != results.Invalid || !strings.Contains(got.Reason, "guest.beats_after 9223372036854775808") {
		t.Errorf("outcome %s, %q", got.Outcome, got.Reason)
	}
	if got.Cell != other.Cell || got.Seed != p[0].Seed || other.Outcome != results.Clean {
		t.Errorf("cell %+v, seed %d; the other trial is %s of %+v", got.Cell, got.Seed, other.Outcome, other.Cell)
	}
}

// TestHostFails: one failure is tried again, two end the run and keep the rest.
func TestHostFails(t *testing.T) {
	t.Parallel()
	p := testPlan(5)
	s := newStore(t, len(p))
	defer s.Close(time.Now())
	tries := map[int]int{}
	broken := errors.New("emulator died")
	var told records
	err := Run(context.Background(), Options{Plan: p, Store: s, Jobs: 1,
		Log: slog.New(&told),
		Host: hostFunc(func(ctx context.Context, p plan.Trial) (results.Trial, error) {
			tries[p.Index]++
			if p.Index == 1 && tries[1] == 1 || p.Index == 3 {
				return results.Trial{}, broken
			}
			return record(p), nil
		})})
	if !errors.Is(err, broken) {
		t.Fatalf("Run: %v, want the host's error", err)
	}
	if got := s.Remaining(); len(got) != 2 || got[0] != 3 {
		t.Errorf("remaining %v, want [3 4]", got)
	}
	want := `INFO trials done=0 total=5
INFO running trial=0
INFO clean done=1 total=5 trial=0
INFO running trial=1
WARN failed error=emulator died trial=1
INFO running trial=1
INFO clean done=2 total=5 trial=1
INFO running trial=2
INFO clean done=3 total=5 trial=2
INFO running trial=3
WARN failed error=emulator died trial=3
INFO running trial=3
WARN failed error=emulator died trial=3
`
	if told.text.String() != want {
		t.Errorf("the log is\n%s\nwant\n%s", told.text.String(), want)
	}
}
