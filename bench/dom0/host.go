package dom0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"hangbench/bench/plan"
	"hangbench/bench/trial"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/beat"
	"hangbench/guests/disk"
	"hangbench/guests/kernel"
	"hangbench/guests/xl"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	xcdriver "hangbench/monitor/driver/xenctrl"
	"hangbench/monitor/linux"
	"hangbench/results"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/suites"
)

// Fields are the structure fields that injection and monitor read; the guest
// kernel's profile must have them.
func Fields() []string {
	return inject.Fields()
}

// SwitchFunction is the kernel function whose execution tells of a task switch:
// on x86-64 every switch from one task to another, idle included, passes it once
// (arch/x86/entry/entry_64.S). It is short and so is the time on its page.
const SwitchFunction = "__switch_to_asm"

// LabMark on the command line of dom0's kernel says that this is the lab.
const LabMark = "hangbench.lab=1"

// Names of the files of a guest kernel in its folder, as guests/image lays them
// out.
const (
	KernelFile  = "vmlinux"
	ProfileFile = "profile"
)

// Host is an open control domain.
type Host struct {
	Kind string // lab or xen
	// Guests holds a folder for each guest kernel, and the initramfs "initrd".
	Guests string
	// Work is a folder for temporary files.
	Work string
	// Progress is told what happens.
	Progress func(stage string)

	xen   *xc.Xen
	store *xc.Store
	tools xl.Toolstack
}

// Open opens the control domain. The error is xenctrl.ErrNotBuilt in a build
// without Xen and xenctrl.ErrNoXen elsewhere than in dom0.
func (h *Host) Open() error {
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

	host    *Host
	profile *kernel.Profile
	mapping *xc.Mapping
	page    *beat.Page
	disk    *disk.Disk // nil in a dom0 that cannot make one
	cpus    int
	driver  *xcdriver.Driver
	space   *linux.Space
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

// NewGuest makes a guest and waits until its heartbeat runs. The guest's kernel
// is booted as a distribution boots it, but for KASLR and the self-tests of its
// cryptography.
func (h *Host) NewGuest(ctx context.Context, name string, spec suites.Guest) (_ *Guest, err error) {
	dir := filepath.Join(h.Guests, spec.Kernel)
	raw, err := os.ReadFile(filepath.Join(dir, ProfileFile))
	if err != nil {
		return nil, fmt.Errorf("guest kernel %s: %w", spec.Kernel, err)
	}
	g := &Guest{Spec: spec, host: h}
	if g.profile, err = kernel.ReadProfile(raw); err != nil {
		return nil, fmt.Errorf("guest kernel %s: %w", spec.Kernel, err)
	}
	h.Progress("create guest")
	var path string
	if g.disk, err = disk.Make(name); err == nil {
		path = g.disk.Path
	} else if !errors.Is(err, disk.ErrNone) {
		return nil, err
	}
	g.Domid, err = h.tools.Create(ctx, xl.Config{
		Name: name, VCPUs: spec.VCPUs, MemoryMiB: spec.MemoryMiB,
		Kernel: filepath.Join(dir, KernelFile), Ramdisk: filepath.Join(h.Guests, "initrd"),
		Cmdline: "console=hvc0 quiet nokaslr mitigations=off cryptomgr.notests",
		Altp2m:  xl.Altp2mExternal,
		Disk:    path,
	})
	if err != nil {
		return nil, errors.Join(err, g.closeDisk(context.WithoutCancel(ctx)))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Destroy(context.WithoutCancel(ctx)))
		}
	}()
	h.Progress("boot guest")
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
	if g.driver, err = xcdriver.New(g.host.xen, g.Domid); err != nil {
		return err
	}
	var r monitor.Registers
	if err := g.driver.Registers(0, &r); err != nil {
		return fmt.Errorf("read the registers of vCPU 0: %w", err)
	}
	g.space = linux.NewSpace(g.driver, r.CR3, r.CR4&(1<<12) != 0)
	banner, err := g.Symbol("linux_banner")
	if err != nil {
		return err
	}
	return linux.CheckBanner(g.space, banner, g.profile.Banner)
}

// Destroy ends the guest.
func (g *Guest) Destroy(ctx context.Context) error {
	var err error
	if g.mapping != nil {
		err = g.mapping.Close()
	}
	return errors.Join(err, g.host.tools.Destroy(ctx, g.Domid), g.closeDisk(ctx))
}

// Run runs one trial on the guest.
func (g *Guest) Run(ctx context.Context, p plan.Trial) (results.Trial, error) {
	if p.Driver != g.driver.Name() {
		return results.Trial{}, fmt.Errorf("driver %q is not in this build; xenctrl is", p.Driver)
	}
	va, err := g.Symbol(SwitchFunction)
	if err != nil {
		return results.Trial{}, err
	}
	gpa, err := g.space.Translate(va)
	if err != nil {
		return results.Trial{}, fmt.Errorf("find %s: %w", SwitchFunction, err)
	}
	trap := monitor.Trap{Symbol: SwitchFunction, VA: va, GFN: gpa >> 12}
	return trial.Run(ctx, p, trial.Env{
		Host: g.host.Kind, Release: g.Release, Page: g.page, CPUs: g.cpus, Target: g, Ended: g.ended,
		Attach: func(m monitor.Mechanism, t detect.Thresholds, sample time.Duration) (trial.Watcher, error) {
			s, err := monitor.Attach(monitor.Config{
				Driver: g.driver, Mechanism: m, Trap: trap, Symbols: names{g.profile.Symbols},
				Thresholds: t, Sample: sample, Now: now,
			})
			if err != nil {
				return nil, err
			}
			return s, nil
		},
		Trace: func() (trial.Tracer, error) {
			m, err := monitor.FindMechanism(p.Mechanism)
			if err != nil {
				return nil, err
			}
			return startTrace(g.host.xen, g.Domid, trap.GFN, m.Watches(), m.Views)
		},
		Now:      now,
		Sleep:    sleep,
		Progress: g.host.Progress,
	})
}

// Symbol, Offset, Translate, memory and pausing make the guest an inject.Target.

// Symbol returns the virtual address of a kernel symbol.
func (g *Guest) Symbol(name string) (uint64, error) {
	s, ok := g.profile.Symbols.Lookup(name)
	if !ok {
		return 0, fmt.Errorf("kernel %s has no symbol %s", g.Release, name)
	}
	return s.Addr, nil
}

// Offset returns where a field lies in a type of the kernel, in bytes.
func (g *Guest) Offset(typ, field string) (uint64, error) {
	f, err := g.profile.Field(typ, field)
	return uint64(f.Offset), err
}

// Translate returns the guest-physical address of a kernel address.
func (g *Guest) Translate(va uint64) (uint64, error) { return g.space.Translate(va) }

// ReadPhysical reads guest memory.
func (g *Guest) ReadPhysical(gpa uint64, b []byte) error { return g.driver.ReadPhysical(gpa, b) }

// WritePhysical writes guest memory.
func (g *Guest) WritePhysical(gpa uint64, b []byte) error { return g.driver.WritePhysical(gpa, b) }

// Pause stops the guest.
func (g *Guest) Pause() error { return g.driver.Pause() }

// Unpause lets it go on.
func (g *Guest) Unpause() error { return g.driver.Unpause() }

// names makes a symbol table a monitor.Symbols.
type names struct{ s *kernel.Symbols }

// kernelHalf is the first address of the kernel's half of the address space.
const kernelHalf = 0xffff800000000000

func (n names) Function(addr uint64) (string, uint64, bool) {
	if addr < kernelHalf {
		return "", 0, false
	}
	s, off, ok := n.s.Find(addr)
	if !ok || !s.Text {
		return "", 0, false
	}
	return s.Name, off, true
}

func (n names) Data(addr uint64) (string, bool) {
	if addr < kernelHalf {
		return "", false
	}
	s, off, ok := n.s.Find(addr)
	if !ok || off != 0 || s.Text || s.PerCPU {
		return "", false
	}
	return s.Name, true
}
