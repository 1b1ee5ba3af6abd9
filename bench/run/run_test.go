package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hangbench/bench/plan"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// hostFunc is a Host made of a function.
type hostFunc func(ctx context.Context, t plan.Trial) (results.Trial, error)

func (f hostFunc) Run(ctx context.Context, t plan.Trial, progress func(string)) (results.Trial, error) {
	progress("running")
	return f(ctx, t)
}

func record(t plan.Trial) results.Trial {
	return results.Trial{Schema: results.Schema, Suite: t.Suite, Trial: t.Index, Block: t.Block, Scenario: t.Scenario,
		Mechanism: t.Mechanism, Driver: t.Driver, Host: "lab", GuestKernel: "k", VCPUs: 1, MemoryMiB: 160, Seed: t.Seed,
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
	var files [2]string
	for i, jobs := range []int{1, 4} {
		p := testPlan(30)
		s := newStore(t, len(p))
		err := Run(context.Background(), Options{Plan: p, Store: s, Jobs: jobs, Host: hostFunc(func(ctx context.Context, p plan.Trial) (results.Trial, error) {
			if jobs > 1 {
				time.Sleep(time.Duration(p.Seed%5) * time.Millisecond)
			}
			return record(p), nil
		})})
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
	s, err := results.Resume(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), Options{Plan: p, Store: s, Jobs: 2, Host: host}); err != nil {
		t.Fatal(err)
	}
	s.Close(time.Now())
	r, err := results.ReadRun(s.Dir())
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

// TestHostFails: one failure is tried again, two end the run and keep the rest.
func TestHostFails(t *testing.T) {
	p := testPlan(5)
	s := newStore(t, len(p))
	defer s.Close(time.Now())
	tries := map[int]int{}
	broken := errors.New("emulator died")
	var told []string
	err := Run(context.Background(), Options{Plan: p, Store: s, Jobs: 1,
		Event: func(e Event) {
			if e.Err != nil {
				told = append(told, fmt.Sprint(e.Trial.Index))
			}
		},
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
	if fmt.Sprint(told) != "[1 3 3]" {
		t.Errorf("failures told: %v", told)
	}
}
