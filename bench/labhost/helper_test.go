package labhost_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
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
	"hangbench/monitor/detect"
	"hangbench/results"
	"hangbench/scenarios/suites"
)

// labVariable asks for tests in the emulated Xen host: "1" for a short form of each,
// "all" for all of each.
const labVariable = "HANGBENCH_TEST_LAB"

// needLab skips a test unless the lab's tests are asked for: they need packages and
// minutes.
func needLab(t *testing.T) {
	t.Helper()
	if os.Getenv(labVariable) == "" {
		require.Missing(t, require.Lab, "set %s=1 to run the tests in the emulated Xen host (make test does)", labVariable)
	}
}

// all reports whether a test is to run as a whole, and not in its short form.
func all() bool { return os.Getenv(labVariable) == "all" }

// long skips a test that has no short form, unless all are asked for.
func long(t *testing.T) {
	t.Helper()
	if !all() {
		require.Missing(t, require.LabAll, "set %s=all to run the long tests in the emulated Xen host", labVariable)
	}
}

// maxEmulators is how many emulators run at a time.
const maxEmulators = 2

// testLab is a lab for tests. Of all together only maxEmulators run at a time.
type testLab struct {
	*labhost.Host
	warnings progress.Warnings
	slots    chan struct{}
}

// slots are taken by running emulators.
var slots = make(chan struct{}, maxEmulators)

// buildLab builds the lab from this source, or finds it in the cache. vmi, if it is
// not nil, is put into its dom0.
func buildLab(ctx context.Context, vmi *lab.LibVMI, show slog.Handler) (*testLab, error) {
	cache, err := lab.FindCache("", os.Getenv)
	if err != nil {
		return nil, err
	}
	h := &testLab{slots: slots}
	log := slog.New(slog.NewMultiHandler(show, &h.warnings))
	options := lab.Options{
		Cache: cache, Source: filepath.Join("..", ".."), LibVMI: vmi, Fields: dom0.Fields(),
		Mirror: os.Getenv("HANGBENCH_DEBIAN_MIRROR"), Log: log,
	}
	l, err := lab.Build(ctx, options)
	if err != nil {
		return nil, err
	}
	if h.Host, err = labhost.New(ctx, l, log); err != nil {
		return nil, err
	}
	h.Variant = func(ctx context.Context, v lab.Variant) (*lab.Lab, error) {
		other := options
		other.Variant = v
		return lab.Build(ctx, other)
	}
	return h, nil
}

// discard is a log that nobody reads.
var discard = slog.New(slog.DiscardHandler)

// sharedLab is the lab of the tests that run in parallel: they share its snapshots. It
// stays open until the test program ends.
var sharedLab = sync.OnceValues(func() (*testLab, error) {
	return buildLab(context.Background(), nil, slog.DiscardHandler)
})

// openLab returns the lab that parallel tests share, and makes the test one of them.
func openLab(t *testing.T) (context.Context, *testLab) {
	t.Helper()
	needLab(t)
	t.Parallel()
	h, err := sharedLab()
	if err != nil {
		t.Fatal(err)
	}
	return interruptible(t), h
}

// ownLab returns a lab of the test's own, whose snapshots it may spoil: they are the
// same files, so the test must not run in parallel.
func ownLab(t *testing.T, vmi *lab.LibVMI) (context.Context, *testLab) {
	t.Helper()
	needLab(t)
	ctx := interruptible(t)
	h, err := buildLab(ctx, vmi, slog.NewTextHandler(t.Output(), nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.Close()
		h.Lab.Close()
	})
	return ctx, h
}

// interruptible returns a context that ends when the test program is interrupted.
func interruptible(t *testing.T) context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	t.Cleanup(stop)
	return ctx
}

// Run runs a trial once there is a slot.
func (h *testLab) Run(ctx context.Context, p plan.Trial, log *slog.Logger) (results.Trial, error) {
	h.slots <- struct{}{}
	defer func() { <-h.slots }()
	return h.Host.Run(ctx, p, log)
}

// look reads the kernel of a guest once there is a slot.
func (h *testLab) inspect(ctx context.Context, g suites.Guest) (dom0.Inspection, error) {
	h.slots <- struct{}{}
	defer func() { <-h.slots }()
	return h.Inspect(ctx, g)
}

// record records a trial once there is a slot.
func (h *testLab) record(ctx context.Context, p plan.Trial, log *slog.Logger) (results.Trial, dom0.Recording, error) {
	h.slots <- struct{}{}
	defer func() { <-h.slots }()
	return h.Record(ctx, p, log)
}

// stream records a stream for a replay once there is a slot.
func (h *testLab) stream(ctx context.Context, scenario string, vcpus int) (detect.Header, []detect.Observation, error) {
	h.slots <- struct{}{}
	defer func() { <-h.slots }()
	return h.RecordStream(ctx, scenario, vcpus, discard)
}

// trial runs a trial that must run.
func (h *testLab) trial(t *testing.T, ctx context.Context, p plan.Trial) results.Trial {
	t.Helper()
	rec, err := h.Run(ctx, p, discard)
	if err != nil {
		t.Fatalf("%s, %s: %v", p.Scenario, p.Mechanism, err)
	}
	return rec
}

// guest starts a machine with a guest, until the test ends.
func (h *testLab) guest(t *testing.T, ctx context.Context, g suites.Guest) *labhost.Machine {
	t.Helper()
	return h.machine(t, func() (*labhost.Machine, error) { return h.UpGuest(ctx, g) })
}

// machine starts a machine, until the test ends.
func (h *testLab) machine(t *testing.T, start func() (*labhost.Machine, error)) *labhost.Machine {
	t.Helper()
	h.slots <- struct{}{}
	t.Cleanup(func() { <-h.slots })
	m, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// guest is the ordinary guest, with so many vCPUs.
func guest(vcpus int) suites.Guest {
	return suites.Guest{Kernel: lab.GuestKernels()[0], VCPUs: vcpus, MemoryMiB: 160}
}

// suitePlan returns a built-in suite and its plan.
func suitePlan(t *testing.T, name string) (*suites.Suite, []plan.Trial) {
	t.Helper()
	s, err := suites.Load(name, names.Suites(lab.GuestKernels(), lab.GuestPrograms()))
	if err != nil {
		t.Fatal(err)
	}
	return s, plan.Expand(s, 1)
}

// runPlan runs trials, jobs at a time, and returns the run.
func (h *testLab) runPlan(t *testing.T, ctx context.Context, s *suites.Suite, trials []plan.Trial,
	jobs int) *results.Run {
	t.Helper()
	store, err := run.Create(t.TempDir(), run.Start{
		Suite: s, Seed: 1, Plan: trials, Host: results.HostInfo{Kind: "lab"}, Time: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Run(ctx, run.Options{Host: h, Plan: trials, Store: store, Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(time.Now()); err != nil {
		t.Fatal(err)
	}
	r, err := results.ReadRun(store.Dir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Trials) != len(trials) || len(r.Bad) > 0 {
		t.Fatalf("%d of %d trials, bad records: %v", len(r.Trials), len(trials), r.Bad)
	}
	return r
}

// name names a trial in messages.
func name(t results.Trial) string {
	return fmt.Sprintf("%s, %s, %d vCPU", t.Scenario, t.Mechanism, t.VCPUs)
}
