package labhost_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
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

// TestMain lets all tests run at a time. Those in the lab wait for emulators, and not for
// processors.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "64"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// maxEmulators is how many emulators run at a time.
const maxEmulators = 2

// queue is where tests wait for an emulator. Whoever needs the most time goes first: so
// the last emulators that run are those of short tests, and none runs alone for long.
type queue struct {
	mu      sync.Mutex
	free    int
	waiting []waiter
}

// waiter waits for an emulator.
type waiter struct {
	need time.Duration
	turn chan struct{} // closed when it has one
}

// take waits for an emulator.
func (q *queue) take(need time.Duration) {
	q.mu.Lock()
	if q.free > 0 {
		q.free--
		q.mu.Unlock()
		return
	}
	w := waiter{need, make(chan struct{})}
	q.waiting = append(q.waiting, w)
	q.mu.Unlock()
	<-w.turn
}

// release gives an emulator back.
func (q *queue) release() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.free++
		return
	}
	first := 0
	for i, w := range q.waiting {
		if w.need > q.waiting[first].need {
			first = i
		}
	}
	close(q.waiting[first].turn)
	q.waiting = slices.Delete(q.waiting, first, first+1)
}

// emulators is the queue for all emulators of this program.
var emulators = queue{free: maxEmulators}

// testLab is a lab for tests, with which one test runs emulators.
type testLab struct {
	*labhost.Host
	warnings *progress.Warnings
	boots    *boots
	need     time.Duration // what the test takes
}

// boots are the snapshots of a lab that were asked for. Each is made once, and the tests
// that wait for it hold no emulator meanwhile.
type boots struct {
	mu   sync.Mutex
	once map[suites.Guest]func() error // the zero guest is dom0 alone
	one  map[lab.Variant]*sync.Mutex   // held while a snapshot of that variant is made
}

// booted waits until the snapshot of a guest, or of dom0 alone, is in the cache.
func (h *testLab) booted(ctx context.Context, g suites.Guest) error {
	h.boots.mu.Lock()
	once := h.boots.once[g]
	if once == nil {
		v := lab.Variant{
			Superpages: g.Superpages, Programs: g.Programs, Kernel: lab.VariantKernel(g.Kernel),
			Xen: lab.VariantXen(g.XenRelease),
		}
		if h.boots.one[v] == nil {
			h.boots.one[v] = &sync.Mutex{}
		}
		one := h.boots.one[v]
		once = sync.OnceValue(func() (err error) {
			one.Lock()
			defer one.Unlock()
			// The lab of another variant is built before there is an emulator for it.
			if _, err = h.Manifests(ctx, []suites.Guest{g}); err != nil {
				return err
			}
			emulators.take(h.need)
			defer emulators.release()
			if g == (suites.Guest{}) {
				_, err = h.Base(ctx)
			} else {
				_, err = h.Guest(ctx, g)
			}
			return err
		})
		h.boots.once[g] = once
	}
	h.boots.mu.Unlock()
	return once()
}

// emulate calls f, which runs an emulator from the snapshot of a guest, once there is
// one to run.
func (h *testLab) emulate(ctx context.Context, g suites.Guest, f func() error) error {
	if err := h.booted(ctx, g); err != nil {
		return err
	}
	emulators.take(h.need)
	defer emulators.release()
	return f()
}

// buildLab builds a lab from this source, or finds it in the cache, and others of its
// kind when they are needed. set changes its options.
func buildLab(ctx context.Context, show slog.Handler, set func(*lab.Options)) (*testLab, error) {
	cache, err := lab.FindCache("", os.Getenv)
	if err == nil {
		err = cache.Make()
	}
	if err != nil {
		return nil, err
	}
	warnings := &progress.Warnings{}
	options := lab.Options{
		Cache: cache, Source: filepath.Join("..", ".."), Fields: dom0.Fields(),
		Mirror: os.Getenv("HANGBENCH_DEBIAN_MIRROR"), Log: slog.New(slog.NewMultiHandler(show, warnings)),
	}
	set(&options)
	l, err := lab.Build(ctx, options)
	if err != nil {
		return nil, err
	}
	host, err := labhost.New(ctx, l, options.Log)
	if err != nil {
		return nil, err
	}
	host.Variant = func(ctx context.Context, v lab.Variant) (*lab.Lab, error) {
		other := options
		other.Variant = v
		return lab.Build(ctx, other)
	}
	return newTestLab(host, warnings), nil
}

func newTestLab(h *labhost.Host, warnings *progress.Warnings) *testLab {
	return &testLab{Host: h, warnings: warnings, boots: &boots{
		once: map[suites.Guest]func() error{}, one: map[lab.Variant]*sync.Mutex{},
	}}
}

// discard is a log that nobody reads.
var discard = slog.New(slog.DiscardHandler)

// sharedLab is the lab of the tests: they share its snapshots. It stays open until the
// test program ends.
var sharedLab = sync.OnceValues(func() (*testLab, error) {
	return buildLab(context.Background(), slog.DiscardHandler, func(*lab.Options) {})
})

// openLab returns the lab that tests share, and makes the test a parallel one. need is
// about how long the test runs emulators.
func openLab(t *testing.T, need time.Duration) (context.Context, *testLab) {
	t.Helper()
	needLab(t)
	t.Parallel()
	h, err := sharedLab()
	if err != nil {
		t.Fatal(err)
	}
	return interruptible(t), h.as(need)
}

// otherLab returns a lab with other options, and makes the test a parallel one.
func otherLab(t *testing.T, need time.Duration, set func(*lab.Options)) (context.Context, *testLab) {
	t.Helper()
	needLab(t)
	t.Parallel()
	ctx := interruptible(t)
	h, err := buildLab(ctx, slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}), set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Lab.Close() })
	return ctx, h.as(need)
}

// as returns the lab for a test that needs emulators for so long.
func (h *testLab) as(need time.Duration) *testLab {
	own := *h
	own.need = need
	return &own
}

// unbooted returns the same lab, with a folder of its own for its snapshots. So it has
// to be booted, and the test may spoil them.
func (h *testLab) unbooted(t *testing.T, ctx context.Context) *testLab {
	t.Helper()
	l := *h.Lab
	l.Dir = t.TempDir()
	if err := os.Symlink(h.Lab.Disc(), l.Disc()); err != nil {
		t.Fatal(err)
	}
	warnings := &progress.Warnings{}
	host, err := labhost.New(ctx, &l, slog.New(warnings))
	if err != nil {
		t.Fatal(err)
	}
	return newTestLab(host, warnings).as(h.need)
}

// interruptible returns a context that ends when the test program is interrupted.
func interruptible(t *testing.T) context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	t.Cleanup(stop)
	return ctx
}

// Run runs a trial once there is an emulator.
func (h *testLab) Run(ctx context.Context, p plan.Trial, log *slog.Logger) (rec results.Trial, err error) {
	err = h.emulate(ctx, p.Machine, func() error {
		rec, err = h.Host.Run(ctx, p, log)
		return err
	})
	return rec, err
}

// inspect reads the kernel of a guest once there is an emulator.
func (h *testLab) inspect(ctx context.Context, g suites.Guest) (i dom0.Inspection, err error) {
	err = h.emulate(ctx, g, func() error {
		i, err = h.Inspect(ctx, g)
		return err
	})
	return i, err
}

// record records a trial once there is an emulator.
func (h *testLab) record(ctx context.Context, p plan.Trial, log *slog.Logger) (rec results.Trial,
	taken dom0.Recording, err error) {
	err = h.emulate(ctx, p.Machine, func() error {
		rec, taken, err = h.Record(ctx, p, log)
		return err
	})
	return rec, taken, err
}

// stream records a stream for a replay once there is an emulator.
func (h *testLab) stream(ctx context.Context, scenario string, vcpus int) (header detect.Header,
	observations []detect.Observation, err error) {
	err = h.emulate(ctx, guest(vcpus), func() error {
		header, observations, err = h.RecordStream(ctx, scenario, vcpus, discard)
		return err
	})
	return header, observations, err
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
	return h.machine(t, ctx, g, func() (*labhost.Machine, error) { return h.UpGuest(ctx, g) })
}

// dom0 starts a machine without a guest, until the test ends.
func (h *testLab) dom0(t *testing.T, ctx context.Context) *labhost.Machine {
	t.Helper()
	return h.machine(t, ctx, suites.Guest{}, func() (*labhost.Machine, error) { return h.Up(ctx) })
}

func (h *testLab) machine(t *testing.T, ctx context.Context, g suites.Guest,
	start func() (*labhost.Machine, error)) *labhost.Machine {
	t.Helper()
	if err := h.booted(ctx, g); err != nil {
		t.Fatal(err)
	}
	emulators.take(h.need)
	t.Cleanup(emulators.release)
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
	s, err := suites.Load(name, names.Suites(lab.GuestKernels(), lab.GuestPrograms(), lab.Xens()))
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
