package dom0_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/dom0"
	"hangbench/bench/dom0/dom0test"
	"hangbench/bench/plan"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/disk"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/guests/xl"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/suites"
)

// onEach is a slog.Handler that calls itself with each message.
type onEach func(message string)

func (f onEach) Enabled(context.Context, slog.Level) bool { return true }
func (f onEach) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f onEach) WithGroup(string) slog.Handler            { return f }
func (f onEach) Handle(_ context.Context, r slog.Record) error {
	f(r.Message)
	return nil
}

// spec is the fake guest, with so many vCPUs.
func spec(vcpus int) suites.Guest {
	return suites.Guest{Kernel: dom0test.Kernel, VCPUs: vcpus, MemoryMiB: 160}
}

// newGuest makes a guest that is destroyed with the test.
func newGuest(t *testing.T, f *dom0test.Fake, s suites.Guest) *dom0.Guest {
	t.Helper()
	g, err := f.NewGuest(t.Context(), "guest", s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
		if n := f.Guests(); n != 0 {
			t.Errorf("%d guests are left", n)
		}
		if n := f.Hypervisor.Mappings(); n != 0 {
			t.Errorf("%d mappings are left", n)
		}
	})
	return g
}

// TestNewGuest: a guest that comes up is open, with its neighbours, and what its
// kernel has can be found and read.
func TestNewGuest(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	var stages []string
	f.Log = slog.New(onEach(func(s string) { stages = append(stages, s) }))
	s := spec(2)
	s.Neighbours = 2
	g := newGuest(t, f, s)
	if f.Guests() != 3 || g.Release != dom0test.Release || g.VCPUs() != 2 || g.Spec != s || g.Heartbeat.CPUs != 2 ||
		g.Host() != f.Host {
		t.Errorf("%d guests, %+v", f.Guests(), g)
	}
	want := []string{"create guest", "boot guest", "guest is up: kernel moved by 0x0, page-table isolation false"}
	if !slices.Equal(stages[:3], want) {
		t.Errorf("stages %q", stages)
	}
	va, err := g.Symbol(dom0.SwitchFunction)
	if err != nil {
		t.Fatal(err)
	}
	gpa, err := g.Translate(va)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := g.Size(dom0.SwitchFunction); err != nil || size != 0x40 {
		t.Errorf("size %#x, %v", size, err)
	}
	if _, err := g.Size("no_such_function"); err == nil {
		t.Error("a function that is not there has a size")
	}
	if off, err := g.Offset("rq", "nr_switches"); err != nil || off != 0x10 {
		t.Errorf("offset %#x, %v", off, err)
	}
	if rq, err := g.Symbol("runqueues"); err != nil || rq != 0x1000 {
		t.Errorf("a per-CPU variable at %#x, %v: want its offset", rq, err)
	}
	b := make([]byte, 1)
	if err := g.ReadPhysical(gpa, b); err != nil || b[0] != 0x90 {
		t.Errorf("read %#x, %v", b, err)
	}
	if err := g.WritePhysical(gpa+1, []byte{0xc3}); err != nil || f.Guest(g.Domid).Page(gpa >> 12)[gpa&0xfff+1] != 0xc3 {
		t.Errorf("write: %v", err)
	}
	if err := g.Pause(); err != nil || f.Guest(g.Domid).Paused() != 1 {
		t.Errorf("pause: %v", err)
	}
	if err := g.Unpause(); err != nil || f.Guest(g.Domid).Paused() != 0 {
		t.Errorf("unpause: %v", err)
	}
	if rip, on, err := g.Where(1); err != nil || rip == 0 || !on {
		t.Errorf("vCPU 1 is at %#x, interrupts %v, %v", rip, on, err)
	}
	if err := g.Cap(t.Context(), 5); err != nil || f.Cap() != 5 {
		t.Errorf("limit: %v, %d%%", err, f.Cap())
	}
	if err := g.NMI(t.Context(), 1); err != nil || !slices.Equal(f.NMIs(), []int{1}) {
		t.Errorf("NMI: %v, of vCPUs %v", err, f.NMIs())
	}
	for _, err := range []error{g.StallDisk(true), g.StallDisk(false), g.SlowDisk(time.Second)} {
		if !errors.Is(err, disk.ErrNone) {
			t.Errorf("a guest without a disk: %v", err)
		}
	}
	site, err := g.Site()
	if err != nil || site.VA != va || site.GFN != gpa>>12 || len(site.Counters) != 2 ||
		site.Counters[0] == site.Counters[1] {
		t.Errorf("site %+v, %v", site, err)
	}
	seen, err := g.Inspect(t.Context())
	if err != nil || len(seen.Queues) != 2 || seen.Queues[0].Switches == 0 || seen.Kernel.Walked != 2 ||
		seen.Isolated {
		t.Errorf("seen %+v, %v", seen, err)
	}
	if len(seen.Differences) != 1 || !strings.Contains(seen.Differences[0], "no kallsyms tables") {
		t.Errorf("a kernel without tables is found in memory: %+v, %q", seen.InMemory, seen.Differences)
	}
}

// TestNewGuestType: Xen starts the kernel of a guest of type PVH. One of type HVM boots from
// the disc of its kernel.
func TestNewGuestType(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := newGuest(t, f, spec(1))
	want := xl.Config{
		Name: "guest", VCPUs: 1, MemoryMiB: 160, Altp2m: xl.Altp2mExternal,
		Kernel:  filepath.Join(f.Config.Guests, dom0test.Kernel, place.Kernel),
		Ramdisk: filepath.Join(f.Config.Guests, place.Ramdisk("")), Cmdline: kernel.Arguments(dom0test.Release, false),
	}
	if got := f.Guest(g.Domid).Config; got != want {
		t.Errorf("PVH: %+v, want %+v", got, want)
	}
	hvm := spec(1)
	hvm.Type, hvm.Boot, hvm.Programs = suites.HVM, suites.Distro, "stress-ng"
	disc := filepath.Join(f.Config.Guests, dom0test.Kernel, place.Disc(hvm.Programs))
	if err := os.WriteFile(disc, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := f.NewGuest(t.Context(), "other", hvm)
	if err != nil {
		t.Fatal(err)
	}
	want = xl.Config{Name: "other", VCPUs: 1, MemoryMiB: 160, Altp2m: xl.Altp2mExternal, Disc: disc}
	if got := f.Guest(h.Domid).Config; got != want {
		t.Errorf("HVM: %+v, want %+v", got, want)
	}
	if err := h.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestNewGuestFails: a guest that cannot be made leaves nothing behind, and the error
// names the step.
func TestNewGuestFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no more memory")
	for _, c := range []struct {
		name  string
		spoil func(f *dom0test.Fake, s *suites.Guest)
		want  string
	}{
		{"no such kernel", func(_ *dom0test.Fake, s *suites.Guest) { s.Kernel = "other" }, "profile"},
		{"a damaged profile", func(f *dom0test.Fake, _ *suites.Guest) {
			os.WriteFile(filepath.Join(f.Config.Guests, dom0test.Kernel, place.Profile), []byte("?"), 0o644)
		}, "not a kernel profile"},
		{"no programs", func(_ *dom0test.Fake, s *suites.Guest) { s.Programs = "stress-ng" }, "--programs stress-ng"},
		{"no image to move", func(_ *dom0test.Fake, s *suites.Guest) { s.Boot = suites.Distro }, "move guest kernel"},
		{"xl fails", func(f *dom0test.Fake, _ *suites.Guest) { f.Fail("Create", broken) }, broken.Error()},
		{"the heartbeat page cannot be mapped", func(f *dom0test.Fake, _ *suites.Guest) {
			f.Hypervisor.Fail("xenforeignmemory_map", unix.EFAULT, 1)
		}, "map the heartbeat page"},
		{"a guest with another kernel", func(f *dom0test.Fake, _ *suites.Guest) {
			f.Log = slog.New(onEach(func(stage string) {
				if stage == "boot guest" { // it has announced itself
					f.Store.Write("/local/domain/1/data/hangbench", "v1 gfn=0x30 cpus=1 release=6.1-other")
				}
			}))
		}, "the guest runs kernel 6.1-other"},
		{"a kernel that brings up too few vCPUs", func(f *dom0test.Fake, s *suites.Guest) {
			s.VCPUs = 3
			f.Log = slog.New(onEach(func(stage string) {
				if stage == "boot guest" { // it has announced itself
					f.Store.Write("/local/domain/1/data/hangbench", "v1 gfn=0x30 cpus=2 release="+dom0test.Release)
				}
			}))
		}, "has brought up 2 of its 3 vCPUs: give the guest 2, or another kernel"},
		{"a neighbour fails", func(f *dom0test.Fake, s *suites.Guest) {
			s.Neighbours = 1
			up := 0
			f.Log = slog.New(onEach(func(string) {
				if up++; up == 4 { // after the guest's own create, boot, up
					f.Fail("Create", broken)
				}
			}))
		}, broken.Error()},
	} {
		f := dom0test.New(t)
		s := spec(1)
		c.spoil(f, &s)
		if _, err := f.NewGuest(t.Context(), "guest", s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if f.Guests() != 0 || f.Hypervisor.Mappings() != 0 {
			t.Errorf("%s: %d guests and %d mappings are left", c.name, f.Guests(), f.Hypervisor.Mappings())
		}
	}
}

// TestDestroyFails: every error of destroying a guest is returned, those of its
// neighbours too, and the guest itself is destroyed all the same.
func TestDestroyFails(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	s := spec(1)
	s.Neighbours = 1
	g, err := f.NewGuest(t.Context(), "guest", s)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("the domain stays")
	f.Fail("Destroy", broken)
	err = g.Destroy(t.Context())
	if n := strings.Count(err.Error(), broken.Error()); n != 2 {
		t.Errorf("%d errors of destroying two guests: %v", n, err)
	}
	if n := f.Hypervisor.Mappings(); n != 0 {
		t.Errorf("%d mappings are left", n)
	}
}

// TestFindGuest: a guest that is up is found by name.
func TestFindGuest(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	made := newGuest(t, f, spec(1))
	g, err := f.FindGuest(t.Context(), "guest")
	if err != nil {
		t.Fatal(err)
	}
	if g.Domid != made.Domid || g.Release != dom0test.Release || g.Heartbeat == nil {
		t.Errorf("%+v", g)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := f.FindGuest(t.Context(), "nobody"); !errors.Is(err, xc.ErrNoDomain) {
		t.Errorf("nobody: %v", err)
	}
	other := f.Start(t, "other")
	if _, err := f.FindGuest(t.Context(), "other"); !errors.Is(err, xc.ErrNotExist) {
		t.Errorf("a guest without a heartbeat: %v", err)
	}
	node := xc.DomainPath(other.ID()) + "/data/hangbench"
	for text, want := range map[string]string{"v1 gfn=0x30 cpus=1 release=6.1": "has the release 6.1",
		"hello": "guest announcement",
		"v1 gfn=0x31 cpus=1 release=" + dom0test.Release: "not its heartbeat page"} {
		if err := f.Store.Write(node, text); err != nil {
			t.Fatal(err)
		}
		if _, err := f.FindGuest(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if err := f.Destroy(int(other.ID())); err != nil {
		t.Error(err)
	}
}

// TestOpenGuest: a guest that others made is opened by its kernel's banner.
func TestOpenGuest(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	x := f.Start(t, "other")
	profiles, err := f.Profiles()
	if err != nil || len(profiles) != 1 {
		t.Fatalf("%d profiles, %v", len(profiles), err)
	}
	say := func(what string) { t.Errorf("said %q", what) }
	g, err := f.OpenGuest(t.Context(), int(x.ID()), profiles, true, say)
	if err != nil {
		t.Fatal(err)
	}
	if g.Heartbeat != nil || g.Release != dom0test.Release {
		t.Errorf("%+v", g)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	// A guest that boots is waited for.
	const textPhys = 2 << 20 // system_state is 0x105018 behind it
	state := x.Page((textPhys + 0x105000) >> 12)
	old := slices.Clone(state)
	state[0x18] = 0
	said := 0
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	g, err = f.OpenGuest(ctx, int(x.ID()), profiles, true, func(what string) {
		said++
		copy(state, old)
	})
	if err != nil || said != 1 {
		t.Fatalf("a guest that boots: said %d times, %v", said, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	// Without a profile the guest's kernel is unknown; a young guest is given some time.
	ended, stop := context.WithCancel(t.Context())
	stop()
	if _, err := f.OpenGuest(ended, int(x.ID()), nil, true, func(string) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("no profile: %v", err)
	}
	if _, err := f.OpenGuest(t.Context(), 999, profiles, true, say); !errors.Is(err, xc.ErrNoDomain) ||
		errors.Is(err, dom0.ErrNoProfile) {
		t.Errorf("no domain: %v", err)
	}
	if f.Hypervisor.Mappings() != 0 {
		t.Errorf("%d mappings are left", f.Hypervisor.Mappings())
	}
}

// TestUse: a monitor's driver is one of those that exist.
func TestUse(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := newGuest(t, f, spec(1))
	for _, name := range []string{"", "xenctrl"} {
		if err := g.Use(name); err != nil || g.Watched().Driver.Name() != "xenctrl" || g.Watched().Kernel == nil {
			t.Errorf("%q: %+v, %v", name, g.Watched(), err)
		}
	}
	if err := g.Use("magic"); err == nil || !strings.Contains(err.Error(), "xenctrl, libvmi") {
		t.Errorf("magic: %v", err)
	}
	if err := g.Use("libvmi"); err == nil {
		t.Error("a build without LibVMI has its driver")
	}
	if g.Watched().Driver.Name() != "xenctrl" {
		t.Error("a driver that cannot be had has taken the place of the other")
	}
}

// TestAttach: every mechanism watches a real guest of the fake and leaves it as it was.
func TestAttach(t *testing.T) {
	t.Parallel()
	for _, m := range trap.Mechanisms() {
		if !m.Watches() {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			f := dom0test.New(t)
			g := newGuest(t, f, spec(2))
			s, err := g.Attach(monitor.Config{Mechanism: m, Thresholds: detect.DefaultThresholds(),
				Sample: 20 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			for end := time.Now().Add(10 * time.Second); s.Signals() == 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			c, err := s.Detach()
			if err != nil {
				t.Error(err)
			}
			if c.Samples == 0 || c.Switches == 0 || c.Signals == 0 {
				t.Errorf("%+v", c)
			}
			if err := f.Guest(g.Domid).Clean(); err != nil {
				t.Error(err)
			}
		})
	}
}

// trial is a control on the fake guest.
func trial(mechanism string, s suites.Guest) plan.Trial {
	return plan.Trial{
		Suite: "fake", Index: 3, Seed: 9, Cell: results.Cell{Scenario: "control-busy",
			Arm: results.Arm{Mechanism: mechanism, Driver: "xenctrl"}, Machine: s},
		Timing: suites.Timing{BaselineMS: 600, ObserveMS: 800, DeadlineMS: 1000, RecoveryMS: 3000, SampleMS: 100},
	}
}

// TestRun: a trial runs on the fake from its first heartbeat to its record, with
// neighbours and with what is recorded.
func TestRun(t *testing.T) {
	t.Parallel()
	for _, mechanism := range []string{"none", "poll", "exec-step", "exec-altp2m"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			f := dom0test.New(t)
			s := spec(1)
			if mechanism == "exec-step" {
				s.Neighbours = 1
			}
			g := newGuest(t, f, s)
			var taken dom0.Recording
			rec, err := g.Run(t.Context(), trial(mechanism, s), &taken)
			if err != nil {
				t.Fatal(err)
			}
			watched := mechanism != "none"
			if rec.Outcome != results.Clean || rec.Host != "xen" || rec.GuestKernel != dom0test.Release ||
				rec.Guest.BeatsAfter < 2 {
				t.Errorf("%s (%s): %+v", rec.Outcome, rec.Reason, rec)
			}
			if watched != (len(taken.Observations) > 0) || taken.Dropped > 0 {
				t.Errorf("%d observations, %d dropped", len(taken.Observations), taken.Dropped)
			}
			stream, err := taken.Stream()
			if err != nil || watched && stream[len(stream)-1].TimeNS <= stream[0].TimeNS {
				t.Errorf("the stream of %d observations: %v", len(stream), err)
			}
			trapped := mechanism == "exec-step" || mechanism == "exec-altp2m"
			if trapped != (rec.EPT.Permission > 0) || trapped != (rec.Events.Delivered > 0) || rec.EPT.TraceLost != 0 {
				t.Errorf("EPT %+v, events %+v", rec.EPT, rec.Events)
			}
			// Those of the neighbour, which has the same trap, do not count.
			if rec.EPT.Permission != rec.Events.Delivered || rec.EPT.Suppressed != 0 {
				t.Errorf("%d events, EPT violations %+v", rec.Events.Delivered, rec.EPT)
			}
			if lazy := mechanism == "exec-altp2m"; lazy != (rec.EPT.Lazy > 0) {
				t.Errorf("EPT %+v", rec.EPT)
			}
			if err := f.Guest(g.Domid).Clean(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestRunInvalid: a guest that does not obey makes a trial invalid, and its console is
// in the record.
func TestRunInvalid(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := newGuest(t, f, spec(1))
	log := filepath.Join(f.Consoles, "guest-guest.log")
	f.Log = slog.New(onEach(func(string) {
		if fh, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			fh.WriteString("I do not feel well\n")
			fh.Close()
		}
	}))
	f.Guest(g.Domid).Silence(true)
	rec, err := g.Run(t.Context(), trial("poll", spec(1)), nil)
	if err != nil || rec.Outcome != results.Invalid || !strings.Contains(rec.Console, "I do not feel well") {
		t.Errorf("%s (%s), console %q, %v", rec.Outcome, rec.Reason, rec.Console, err)
	}
	f.Guest(g.Domid).Silence(false)
	// Without a console only a trial that listens to it fails.
	if err := os.Remove(log); err != nil {
		t.Fatal(err)
	}
	p := trial("none", spec(1))
	if rec, err := g.Run(t.Context(), p, nil); err != nil || rec.Outcome != results.Clean {
		t.Errorf("without a console: %s, %v", rec.Outcome, err)
	}
	p.Watchdogs = "default"
	if _, err := g.Run(t.Context(), p, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("watchdogs without a console: %v", err)
	}
	for _, spoil := range []func(*plan.Trial){
		func(p *plan.Trial) { p.Mechanism = "magic" }, func(p *plan.Trial) { p.Driver = "magic" },
	} {
		p := trial("poll", spec(1))
		spoil(&p)
		if _, err := g.Run(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), "magic") {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestRunHostFails: a trial whose host fails returns that error.
func TestRunHostFails(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := newGuest(t, f, spec(1))
	f.Hypervisor.Fail("xc_tbuf_enable", unix.EBUSY, 1)
	if _, err := g.Run(t.Context(), trial("exec-step", spec(1)), nil); !errors.Is(err, unix.EBUSY) {
		t.Errorf("no trace buffers: %v", err)
	}
	if err := f.Guest(g.Domid).Clean(); err != nil {
		t.Error(err)
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	if v, err := f.Version(); err != nil || !strings.HasPrefix(v, "4.20") {
		t.Errorf("version %q, %v", v, err)
	}
	if f.Kind() != "xen" {
		t.Errorf("kind %q", f.Kind())
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if len(dom0.Fields()) == 0 {
		t.Error("no fields")
	}
}

// TestSaveRestore: a guest that is saved comes back in another domain, in which it is read
// and watched as before; nothing of the former one stays mapped when it is closed.
func TestSaveRestore(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := newGuest(t, f, spec(2))
	if err := g.Restore(t.Context(), 0); err == nil {
		t.Error("a guest that was not saved is restored")
	}
	first := g.Domid
	s, err := g.Attach(monitor.Config{Mechanism: find(t, "exec-step"), Thresholds: detect.DefaultThresholds(),
		Sample: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	before := g.Heartbeat.Count(0).Beats
	if err := g.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Save(t.Context()); err == nil {
		t.Error("a guest that has no domain is saved")
	}
	<-s.Done()
	if g.Heartbeat.Count(0).Beats < before { // its page stays
		t.Error("the counters of a saved guest are lost")
	}
	if err := g.Restore(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Detach(); !errors.Is(err, monitor.ErrGone) {
		t.Errorf("the monitor of the former domain: %v", err)
	}
	if g.Domid == first || f.Guests() != 1 || !slices.Equal(f.Calls(), []string{"Save 1", "Restore 3600"}) {
		t.Errorf("domain %d, calls %q", g.Domid, f.Calls())
	}
	if files, _ := os.ReadDir(f.Config.Work); len(files) > 0 {
		t.Errorf("%s is left", files[0].Name())
	}
	if _, err := g.Symbol(dom0.SwitchFunction); err != nil {
		t.Error(err)
	}
	for end := time.Now().Add(5 * time.Second); g.Heartbeat.Count(1).Beats <= before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the restored guest does not beat")
		}
	}
	s, err = g.Attach(monitor.Config{Mechanism: find(t, "exec-step"), Thresholds: detect.DefaultThresholds(),
		Sample: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Detach(); err != nil {
		t.Error(err)
	}
	if err := f.Guest(g.Domid).Clean(); err != nil {
		t.Error(err)
	}
}

// TestSaveFails: a guest that cannot be saved stays, and one that cannot be restored leaves
// no file.
func TestSaveFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("no space")
	f := dom0test.New(t)
	g, err := f.NewGuest(t.Context(), "guest", spec(1))
	if err != nil {
		t.Fatal(err)
	}
	f.Fail("Save", broken)
	if err := g.Save(t.Context()); !errors.Is(err, broken) || f.Guests() != 1 {
		t.Errorf("%v, %d guests", err, f.Guests())
	}
	f.Fail("Save", nil)
	f.Fail("Restore", broken)
	if err := g.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Restore(t.Context(), 0); !errors.Is(err, broken) {
		t.Errorf("restored: %v", err)
	}
	if err := g.Destroy(t.Context()); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(f.Config.Work); len(files) > 0 {
		t.Errorf("%s is left", files[0].Name())
	}
}

// TestManage: what the toolstack does to a guest and to dom0 goes to the right domain, and a
// guest that is destroyed leaves nothing of it.
func TestManage(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := newGuest(t, f, spec(2))
	ctx := t.Context()
	for _, err := range []error{g.SetVCPUs(ctx, 1), g.SetVCPUs(ctx, 0), g.SetMemory(ctx, 96), g.SetMemory(ctx, 0),
		g.Checkpoint(ctx), g.CapControl(ctx, 10), g.CapControl(ctx, 0), g.End(ctx, inject.Reboot)} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"SetVCPUs 1 1", "SetVCPUs 1 2", "SetMemory 1 96", "SetMemory 1 160", "Checkpoint 1 /dev/null",
		"CapControl 10", "CapControl 0", "Reboot 1"}
	if got := f.Calls(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
	if how, err := g.Ended(); err != nil || how != "reboot" {
		t.Errorf("ended with %q, %v", how, err)
	}
	if err := g.End(ctx, "suspend"); err == nil {
		t.Error("a guest was asked for an unknown end")
	}
	if r, err := g.Resources(); err != nil || r.VCPUs != 2 || r.Memory != 4<<20 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := g.FailDisk(true); !errors.Is(err, disk.ErrNone) {
		t.Errorf("a guest without a disk: %v", err)
	}
}

// TestFillControl: memory of dom0 is taken until so much is left, and given back, also when
// the guest is destroyed meanwhile.
func TestFillControl(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g, err := f.NewGuest(t.Context(), "guest", spec(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{16, 40, 0, 8} {
		if err := g.FillControl(left); err != nil || f.Taken() != map[int]int64{16: 84, 40: 60, 0: 0, 8: 92}[left]<<20 {
			t.Errorf("%d MiB to be left: %v, %d MiB taken", left, err, f.Taken()>>20)
		}
	}
	if err := g.FillControl(0); err != nil {
		t.Error(err)
	}
	if err := g.FillControl(100); err == nil || f.Taken() != 0 {
		t.Errorf("more is left than there is: %v", err)
	}
	if err := g.FillControl(50); err != nil {
		t.Error(err)
	}
	if err := g.Destroy(t.Context()); err != nil || f.Taken() != 0 {
		t.Errorf("destroyed: %v, %d MiB taken", err, f.Taken()>>20)
	}
}

// TestBuildOthers: other guests are built and destroyed until that is ended.
func TestBuildOthers(t *testing.T) {
	t.Parallel()
	f := dom0test.New(t)
	g := newGuest(t, f, spec(1))
	if err := g.BuildOthers(t.Context(), false); err != nil {
		t.Error(err)
	}
	if err := g.BuildOthers(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := g.BuildOthers(t.Context(), true); err == nil {
		t.Error("guests are built twice at a time")
	}
	for end := time.Now().Add(10 * time.Second); f.Created() < 4; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d guests were built", f.Created())
		}
	}
	if err := g.BuildOthers(t.Context(), false); err != nil || f.Guests() != 1 {
		t.Errorf("ended: %v, %d guests", err, f.Guests())
	}
	broken := errors.New("no more memory")
	f.Fail("Create", broken)
	if err := g.BuildOthers(t.Context(), true); !errors.Is(err, broken) {
		t.Errorf("the first cannot be built: %v", err)
	}
	f.Fail("Create", nil)
	if err := g.BuildOthers(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	f.Fail("Create", broken)
	time.Sleep(300 * time.Millisecond) // a later one is tried
	if err := g.BuildOthers(t.Context(), false); !errors.Is(err, broken) {
		t.Errorf("a later one cannot be built: %v", err)
	}
}

// find returns a mechanism.
func find(t *testing.T, name string) trap.Mechanism {
	t.Helper()
	m, err := trap.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
