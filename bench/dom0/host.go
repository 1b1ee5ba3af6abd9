package dom0

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/observe"
	"hangbench/bench/plan"
	"hangbench/bench/trial"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/beat"
	"hangbench/guests/disk"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/guests/watchdog"
	"hangbench/guests/xl"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	vmidriver "hangbench/monitor/driver/libvmi"
	xcdriver "hangbench/monitor/driver/xenctrl"
	"hangbench/monitor/linux"
	"hangbench/monitor/trap"
	"hangbench/results"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/suites"
)

// Fields are the structure fields that injection and monitor read; the guest
// kernel's profile must have them.
func Fields() []string {
	return slices.Concat(inject.Fields(), linux.Fields(), vmidriver.Fields())
}

// SwitchFunction is the kernel function whose execution tells of a task switch:
// on x86-64 every switch from one task to another, idle included, passes it once
// (arch/x86/entry/entry_64.S). It is short and so is the time on its page.
const SwitchFunction = "__switch_to_asm"

// Host is an open control domain.
type Host struct {
	Kind string // lab or xen
	// Guests holds a folder for each guest kernel, and their initramfs: see guests/lab/place.
	Guests string
	// Work is a folder for temporary files.
	Work string
	// Log gets the steps of making a guest and of trials on it.
	Log *slog.Logger
	// Driver is what monitors of guests watch through, one of Drivers; empty means
	// xenctrl. A trial says so itself.
	Driver string

	xen   *xc.Xen
	store *xc.Store
	tools xl.Toolstack
}

// Open opens the control domain. The error is xenctrl.ErrNotBuilt in a build
// without Xen and xenctrl.ErrNoXen elsewhere than in dom0.
func (h *Host) Open() error {
	calm()
	var err error
	if h.xen, err = xc.Open(); err != nil {
		return fmt.Errorf("open Xen: %w", err)
	}
	if h.store, err = xc.OpenStore(); err != nil {
		h.xen.Close()
		return fmt.Errorf("open xenstore: %w", err)
	}
	h.tools = xl.Toolstack{Dir: h.Work}
	return nil
}

// Close closes it.
func (h *Host) Close() error { return errors.Join(h.store.Close(), h.xen.Close()) }

// Version returns what Xen this is.
func (h *Host) Version() (string, error) {
	v, err := h.xen.Version()
	return v.String(), err
}

// Guest is a guest that is up and beats.
type Guest struct {
	Spec    suites.Guest
	Domid   int
	Release string

	name    string // of the domain; empty for a guest that others made
	host    *Host
	profile *kernel.Profile
	mapping *xc.Mapping
	page    *beat.Page
	disk    *disk.Disk // nil in a dom0 that cannot make one
	cpus    int
	driver  *xcdriver.Driver
	kern    *linux.Kernel

	neighbours []*Guest // monitored beside it

	vmi     *vmidriver.Driver // nil unless it was asked for
	vmiKern *linux.Kernel
	// What monitors use: driver and kern, or vmi and vmiKern.
	watched     watched
	watchedKern *linux.Kernel
}

// now is dom0's monotonic clock.
func now() int64 {
	var ts unix.Timespec
	// CLOCK_MONOTONIC cannot fail on Linux.
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Command lines of guest kernels. The self-tests of cryptography say nothing of
// hangs and take seconds of the emulator.
const (
	distroArgs = "console=hvc0 quiet cryptomgr.notests"
	plainArgs  = distroArgs + " nokaslr mitigations=off"
)

// NewGuest makes a guest and waits until its heartbeat runs. With suites.Distro
// its kernel is booted as a distribution boots it, moved in memory and with all
// mitigations that it chooses itself.
//
// Its neighbours are made too, and wait for what it does.
func (h *Host) NewGuest(ctx context.Context, name string, spec suites.Guest) (_ *Guest, err error) {
	g, err := h.newGuest(ctx, name, spec)
	if err != nil {
		return nil, err
	}
	for i := range spec.Neighbours {
		n, err := h.newGuest(ctx, fmt.Sprintf("%s-beside-%d", name, i+1), spec)
		if err != nil {
			return nil, errors.Join(err, g.Destroy(context.WithoutCancel(ctx)))
		}
		g.neighbours = append(g.neighbours, n)
	}
	return g, nil
}

// newGuest makes one guest.
func (h *Host) newGuest(ctx context.Context, name string, spec suites.Guest) (_ *Guest, err error) {
	if err := h.CheckGuest(spec); err != nil {
		return nil, err
	}
	dir := filepath.Join(h.Guests, spec.Kernel)
	raw, err := os.ReadFile(filepath.Join(dir, place.Profile))
	if err != nil {
		return nil, fmt.Errorf("guest kernel %s: %w", spec.Kernel, err)
	}
	g := &Guest{Spec: spec, name: name, host: h}
	if g.profile, err = kernel.ReadProfile(raw); err != nil {
		return nil, fmt.Errorf("guest kernel %s: %w", spec.Kernel, err)
	}
	image, args := filepath.Join(dir, place.Kernel), plainArgs
	if spec.Boot == suites.Distro {
		h.Log.Info("move guest kernel")
		args = distroArgs
		moved, merr := h.moveKernel(dir, spec)
		if merr != nil {
			return nil, fmt.Errorf("guest kernel %s: %w", spec.Kernel, merr)
		}
		defer os.Remove(moved) // Xen has read it when the guest runs
		image = moved
	}
	h.Log.Info("create guest")
	var path string
	if g.disk, err = disk.Make(name); err == nil {
		path = g.disk.Path
	} else if !errors.Is(err, disk.ErrNone) {
		return nil, err
	}
	g.Domid, err = h.tools.Create(ctx, xl.Config{
		Name: name, VCPUs: spec.VCPUs, MemoryMiB: spec.MemoryMiB,
		Kernel: image, Ramdisk: filepath.Join(h.Guests, place.Ramdisk(spec.Programs)), Cmdline: args,
		Altp2m: xl.Altp2mExternal,
		Disk:   path,
	})
	if err != nil {
		return nil, errors.Join(err, g.closeDisk(context.WithoutCancel(ctx)))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Destroy(context.WithoutCancel(ctx)))
		}
	}()
	h.Log.Info("boot guest")
	if err := g.meet(ctx); err != nil {
		return nil, fmt.Errorf("guest %s: %w", name, err)
	}
	return g, nil
}

// bootDeadline is how long a guest may take to announce itself, on dom0's clock.
const bootDeadline = 120 * time.Second

// meet waits for the announcement and opens everything a trial needs.
func (g *Guest) meet(ctx context.Context) error {
	node := xc.DomainPath(xc.DomID(g.Domid)) + "/" + beat.Node
	var text string
	for end := now() + int64(bootDeadline); ; {
		var err error
		if text, err = g.host.store.Read(node); err == nil && text != "" {
			break
		}
		if err != nil && !errors.Is(err, xc.ErrNotExist) {
			return fmt.Errorf("wait for the guest: %w", err)
		}
		if now() > end {
			return fmt.Errorf("the guest did not announce itself within %v", bootDeadline)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	ann, err := beat.ParseAnnouncement(text)
	if err != nil {
		return err
	}
	if ann.Release != g.profile.Release {
		return fmt.Errorf("the guest runs kernel %s, its profile is of %s", ann.Release, g.profile.Release)
	}
	g.Release, g.cpus = ann.Release, ann.CPUs
	dom := g.host.xen.Domain(xc.DomID(g.Domid))
	if g.mapping, err = dom.Map([]uint64{ann.GFN}, xc.ReadWrite); err != nil {
		return fmt.Errorf("map the heartbeat page: %w", err)
	}
	if g.page, err = beat.New(g.mapping.Bytes()); err != nil {
		return err
	}
	if !g.page.Valid() {
		return fmt.Errorf("the frame %#x that the guest announced is not its heartbeat page", ann.GFN)
	}
	if err := g.open(layout{g.profile}); err != nil {
		return err
	}
	isolated := "?"
	if on, err := g.kern.Isolated(); err == nil {
		isolated = fmt.Sprint(on)
	}
	g.host.Log.Info(fmt.Sprintf("guest is up: kernel moved by %#x, page-table isolation %s", g.kern.Slide(), isolated))
	return nil
}

// registers returns the registers of all vCPUs.
func (g *Guest) registers() ([]driver.Registers, error) {
	regs := make([]driver.Registers, g.driver.VCPUs())
	for i := range regs {
		if err := g.driver.Registers(i, &regs[i]); err != nil {
			return nil, fmt.Errorf("read the registers of vCPU %d: %w", i, err)
		}
	}
	return regs, nil
}

// Destroy ends the guest and its neighbours.
func (g *Guest) Destroy(ctx context.Context) error {
	var err error
	for _, n := range g.neighbours {
		err = errors.Join(err, n.Destroy(ctx))
	}
	g.neighbours = nil
	if g.mapping != nil {
		err = g.mapping.Close()
	}
	return errors.Join(err, g.closeDrivers(), g.host.tools.Destroy(ctx, g.Domid), g.closeDisk(ctx))
}

// site finds what the mechanisms trap: the scheduler's switch function and, by
// CPU, the run queues' counts of switches.
func (g *Guest) site() (trap.Site, error) {
	va, err := g.Symbol(SwitchFunction)
	if err != nil {
		return trap.Site{}, err
	}
	gpa, err := g.kern.Translate(va)
	if err != nil {
		return trap.Site{}, fmt.Errorf("find %s: %w", SwitchFunction, err)
	}
	site := trap.Site{Symbol: SwitchFunction, VA: va, GFN: gpa >> 12}
	for cpu := range g.driver.VCPUs() {
		gfn, off, err := g.kern.CounterPlace(cpu)
		if err != nil {
			return trap.Site{}, fmt.Errorf("find the counters of run queue %d: %w", cpu, err)
		}
		site.Counters = append(site.Counters, trap.Place{GFN: gfn, Offset: off})
	}
	return site, nil
}

// Run runs one trial on the guest. The observations of its monitor are added to
// taken, unless that is nil.
func (g *Guest) Run(ctx context.Context, p plan.Trial, taken *Recording) (results.Trial, error) {
	for _, x := range append([]*Guest{g}, g.neighbours...) {
		if err := x.use(p.Driver); err != nil {
			return results.Trial{}, err
		}
	}
	e := &environment{Guest: g, taken: taken}
	var err error
	if e.trapped, err = g.site(); err != nil {
		return results.Trial{}, err
	}
	c, err := openConsole(g.name)
	switch {
	case err == nil:
		defer c.close()
		e.console = c
	case p.Watchdogs != string(watchdog.Off) || !errors.Is(err, os.ErrNotExist):
		return results.Trial{}, err
	}
	env := trial.Env{Host: e, Guest: e, Log: e}
	m, err := trial.Mechanism(p)
	if err != nil {
		return results.Trial{}, err
	}
	open := func(t detect.Thresholds, sample time.Duration) (observe.Session, error) {
		return g.attachGroup(m, t, sample, e.record())
	}
	env.Watcher, env.Beside = observe.All(p, m, open)
	rec, err := trial.Run(ctx, p, env)
	if err != nil || c == nil {
		return rec, err
	}
	said, err := c.end()
	rec.Console = results.CleanConsole(said)
	return rec, err
}

// Symbol, Offset, Translate, memory and pausing make the guest an inject.Target.

// Symbol returns the virtual address of a kernel symbol; of a per-CPU variable,
// its offset in the area of each CPU.
func (g *Guest) Symbol(name string) (uint64, error) {
	if s, ok := g.profile.Symbols.Lookup(name); ok && s.PerCPU {
		return s.Addr, nil // an offset, which the kernel's place does not change
	}
	return g.kern.Symbol(name)
}

// Offset returns where a field lies in a type of the kernel, in bytes.
func (g *Guest) Offset(typ, field string) (uint64, error) {
	f, err := g.profile.Field(typ, field)
	return uint64(f.Offset), err
}

// Translate returns the guest-physical address of a kernel address.
func (g *Guest) Translate(va uint64) (uint64, error) { return g.kern.Translate(va) }

// ReadPhysical reads guest memory.
func (g *Guest) ReadPhysical(gpa uint64, b []byte) error { return g.driver.ReadPhysical(gpa, b) }

// WritePhysical writes guest memory.
func (g *Guest) WritePhysical(gpa uint64, b []byte) error { return g.driver.WritePhysical(gpa, b) }

// Pause stops the guest.
func (g *Guest) Pause() error { return g.driver.Pause() }

// Unpause lets it go on.
func (g *Guest) Unpause() error { return g.driver.Unpause() }
