package dom0

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"hangbench/bench/dom0/clock"
	"hangbench/bench/dom0/heartbeat"
	"hangbench/bench/dom0/recovery"
	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/beat"
	"hangbench/guests/disk"
	"hangbench/guests/kernel"
	"hangbench/guests/xl"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	vmidriver "hangbench/monitor/driver/libvmi"
	xcdriver "hangbench/monitor/driver/xenctrl"
	"hangbench/monitor/linux"
	"hangbench/monitor/trap"
	"hangbench/results/printable"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/suites"
)

// Fields are the structure fields that injection and monitor read. A guest kernel's
// profile must have them.
func Fields() []string {
	return slices.Concat(inject.Fields(), linux.Fields(), vmidriver.Fields())
}

// SwitchFunction is the kernel function that mechanisms trap to learn of task
// switches. On x86-64 every switch from one task to another, idle included, calls
// it once (arch/x86/entry/entry_64.S).
const SwitchFunction = "__switch_to_asm"

// Names of the libraries through which a monitor can watch a guest.
const (
	xenctrl = "xenctrl"
	libvmi  = "libvmi"
)

// Drivers returns the names of the libraries through which a monitor can watch a
// guest.
func Drivers() []string { return []string{xenctrl, libvmi} }

// Driver is a driver that monitors watch through.
type Driver interface {
	driver.Driver
	// Forget unmaps all pages: the next read maps its page again.
	Forget() error
	Close() error
}

// Access is a way into a guest: a driver, and the guest's kernel as it is read
// through that driver.
type Access struct {
	Driver Driver
	Kernel *linux.Kernel
}

// Guest is an open guest.
type Guest struct {
	Spec    suites.Guest // zero for a guest that others made
	Domid   int
	Release string // of its kernel
	// InMemory says what was read to find the kernel in the guest's memory. It is nil if a
	// profile was given.
	InMemory *MemoryRead
	// Heartbeat is nil for a guest that others made.
	Heartbeat *heartbeat.Page

	name       string    // of the domain; empty for a guest that others made
	config     xl.Config // that it was made with
	announced  beat.Announcement
	host       *Host
	profile    *kernel.Profile
	disk       *disk.Disk // nil in a dom0 that cannot make one
	driver     *xcdriver.Driver
	kernel     *linux.Kernel // through driver
	libvmi     *Access       // nil until a monitor watches through LibVMI
	watched    Access        // what monitors watch through
	neighbours []*Guest      // monitored beside it

	saved  string      // file of the guest while it is saved, or empty
	former []io.Closer // of the domains that it had before it was saved

	filled func() error // gives back the memory taken in dom0; nil: none is taken
	others *builds      // of other guests; nil: there are none
}

// FindGuest opens a guest that hangbench has made and that is up, by the name of its
// domain.
func (h *Host) FindGuest(ctx context.Context, name string) (*Guest, error) {
	domid, err := h.tools.Find(ctx, name)
	if err != nil {
		return nil, err
	}
	a, err := heartbeat.Announced(h.Store, domid)
	if err != nil {
		return nil, fmt.Errorf("guest %s: %w", name, err)
	}
	g := &Guest{Domid: domid, name: name, host: h}
	if g.profile, err = h.profileOf(a.Release); err != nil {
		return nil, err
	}
	if err := g.openAnnounced(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("guest %s: %w", name, err), g.Close())
	}
	return g, nil
}

// ErrNoProfile means that the guest runs none of the kernels whose profiles are known,
// and that its own is not found in its memory, if that was tried.
var ErrNoProfile = errors.New("none of the kernels at hand is the guest's; name it with --kernel, or " +
	"a folder that has it with --guests")

// A guest that has just been started cannot be read at first. For unknownTime even
// its kernel is unknown, and for bootTime it does not schedule yet. A guest that has
// used less CPU time than youth may be such a guest.
const (
	unknownTime = 10 * time.Second
	bootTime    = time.Minute
	youth       = time.Minute
)

// OpenGuest opens a domain that is there already, whoever made it. It needs no
// heartbeat. The guest's kernel is the one among profiles whose banner stands in its
// memory. If there is none and inMemory is set, its profile is made from what the guest
// has of it in its memory. The error is ErrNoProfile if there is none, and
// xenctrl.ErrNoDomain if the domain is gone. If the guest has just been started OpenGuest
// says so once and waits until it can be read. The caller closes the guest with Close and
// must not use it for trials.
func (h *Host) OpenGuest(ctx context.Context, domid int, profiles []*kernel.Profile, inMemory bool,
	say func(string)) (*Guest, error) {
	known := make([]knownKernel, len(profiles))
	for i, p := range profiles {
		known[i].profile = p
	}
	began, said := clock.Now(), false
	for {
		g, err := h.tryGuest(domid, known)
		if inMemory && errors.Is(err, ErrNoProfile) {
			k, kerr := h.kernelInMemory(ctx, domid)
			if kerr == nil {
				known, inMemory = append(known, k), false
				continue
			}
			if ctx.Err() != nil {
				return nil, fmt.Errorf("domain %d: %w", domid, ctx.Err())
			}
			err = errors.Join(err, kerr)
		}
		patience := time.Duration(0)
		switch {
		case err == nil:
			return g, nil
		case errors.Is(err, linux.ErrBooting):
			patience = bootTime
		case errors.Is(err, ErrNoProfile):
			info, ierr := h.Xen.Domain(xc.DomID(domid)).Info()
			if errors.Is(ierr, xc.ErrNoDomain) {
				return nil, fmt.Errorf("domain %d has been destroyed: %w", domid, ierr)
			}
			if ierr == nil && info.CPUTimeNS < uint64(youth) {
				patience = unknownTime
			}
		}
		if clock.Now()-began >= int64(patience) {
			return nil, err
		}
		if !said {
			said = true
			say(fmt.Sprintf("domain %d has just been started: wait until its kernel can be read", domid))
		}
		if serr := clock.Sleep(ctx, 100*time.Millisecond); serr != nil {
			return nil, serr
		}
	}
}

// knownKernel is a kernel that a guest may run.
type knownKernel struct {
	profile *kernel.Profile
	read    *MemoryRead // nil if the profile is not from the guest's memory
}

// kernelInMemory finds the kernel of a domain in its memory.
func (h *Host) kernelInMemory(ctx context.Context, domid int) (k knownKernel, err error) {
	g := &Guest{Domid: domid, host: h}
	if g.driver, err = xcdriver.New(h.Xen, domid); err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	regs, err := g.registers()
	if err != nil {
		return k, err
	}
	p, read, err := ProfileInMemory(ctx, g.driver, regs...)
	return knownKernel{p, &read}, err
}

// tryGuest opens a domain if its kernel can be read now.
func (h *Host) tryGuest(domid int, kernels []knownKernel) (*Guest, error) {
	g := &Guest{Domid: domid, host: h}
	errs := []error{fmt.Errorf("domain %d: %w", domid, ErrNoProfile)}
	for _, k := range kernels {
		g.profile, g.InMemory = k.profile, k.read
		g.Release = printable.Line(k.profile.Release) // the guest may have chosen it
		err := g.open()
		if err == nil {
			return g, nil
		}
		err = errors.Join(fmt.Errorf("as Linux %s: %w", g.Release, err), g.Close())
		if errors.Is(err, linux.ErrBooting) { // its banner stands there
			return nil, fmt.Errorf("domain %d: %w", domid, err)
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// openAnnounced waits for the guest's announcement and opens everything that a
// trial needs.
func (g *Guest) openAnnounced(ctx context.Context) error {
	a, err := heartbeat.Await(ctx, g.host.Store, g.Domid)
	if err != nil {
		return err
	}
	if a.Release != g.profile.Release {
		return fmt.Errorf("the guest runs kernel %s, its profile is of %s", a.Release, g.profile.Release)
	}
	if want := g.Spec.VCPUs; a.CPUs < want { // a guest that others made has no Spec
		return fmt.Errorf("the guest's kernel %s has brought up %d of its %d vCPUs: give the guest %d, or another kernel",
			a.Release, a.CPUs, want, a.CPUs)
	}
	g.Release, g.announced = a.Release, a
	return g.openAs(a)
}

// openAs opens everything that a trial needs of a guest that has announced itself so.
func (g *Guest) openAs(a beat.Announcement) (err error) {
	if g.Heartbeat, err = heartbeat.Open(g.host.Xen, g.Domid, a); err != nil {
		return err
	}
	if err := g.open(); err != nil {
		return err
	}
	isolated := "unknown"
	if on, err := g.kernel.Isolated(); err == nil {
		isolated = fmt.Sprint(on)
	}
	g.host.Log.Info(fmt.Sprintf("guest is up: kernel moved by %#x, page-table isolation %s", g.kernel.Slide(), isolated))
	return nil
}

// open opens driver and kernel of a domain that exists.
func (g *Guest) open() error {
	var err error
	if g.driver, err = xcdriver.New(g.host.Xen, g.Domid); err != nil {
		return err
	}
	if g.kernel, err = g.readKernel(g.driver); err != nil {
		return err
	}
	return g.Use(g.host.Driver)
}

// readKernel opens the guest's kernel through a driver.
func (g *Guest) readKernel(d driver.Driver) (*linux.Kernel, error) {
	regs, err := g.registers()
	if err != nil {
		return nil, err
	}
	return linux.Open(d, layout{g.profile}, regs...)
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

// Use lets monitors watch the guest through one of Drivers, and read its kernel
// through it too. Empty means xenctrl. Faults are always injected through xenctrl.
func (g *Guest) Use(name string) error {
	switch {
	case name == xenctrl || name == "":
		g.watched = Access{g.driver, g.kernel}
		return nil
	case name != libvmi:
		return fmt.Errorf("there is no driver %q; there are %s", name, strings.Join(Drivers(), ", "))
	}
	if g.libvmi == nil {
		d, err := vmidriver.New(g.host.Xen, g.Domid)
		if err != nil {
			return fmt.Errorf("driver libvmi: %w", err)
		}
		k, err := g.readKernel(d)
		if err != nil {
			return errors.Join(fmt.Errorf("driver libvmi: %w", err), d.Close())
		}
		g.libvmi = &Access{d, k}
	}
	g.watched = *g.libvmi
	return nil
}

// Unjudged returns the classes of hangs that cannot be judged in the guest, because its
// kernel lacks what that takes.
func (g *Guest) Unjudged() []detect.Unjudged { return linux.Unjudged(layout{g.profile}) }

// Watched returns what monitors watch through.
func (g *Guest) Watched() Access { return g.watched }

// Host returns the guest's control domain.
func (g *Guest) Host() *Host { return g.host }

// CheckLibVMI reports how LibVMI, with a configuration in memory, disagrees with the
// monitor on where the guest's kernel lies.
func (g *Guest) CheckLibVMI() error { return vmidriver.Check(g.name, layout{g.profile}, g.kernel) }

// Close closes a guest that stays up.
func (g *Guest) Close() error {
	var err error
	if g.Heartbeat != nil {
		err = g.Heartbeat.Close()
		g.Heartbeat = nil
	}
	if g.libvmi != nil {
		err = errors.Join(err, g.libvmi.Driver.Close())
		g.libvmi = nil
	}
	if g.driver != nil {
		err = errors.Join(err, g.driver.Close())
	}
	for _, c := range g.former {
		err = errors.Join(err, c.Close())
	}
	g.former = nil
	return err
}

// Destroy ends the guest and its neighbours. It goes on after an error and returns
// all of them.
func (g *Guest) Destroy(ctx context.Context) error {
	var errs []error
	for _, n := range g.neighbours {
		errs = append(errs, n.Destroy(ctx))
	}
	g.neighbours = nil
	errs = append(errs, g.Close(), g.FillControl(0), g.BuildOthers(ctx, false))
	if g.saved == "" {
		errs = append(errs, g.host.tools.Destroy(ctx, g.Domid))
	} else { // it has no domain
		errs = append(errs, os.Remove(g.saved))
	}
	return errors.Join(append(errs, g.closeDisk(ctx))...)
}

// Site returns the places that mechanisms trap: the scheduler's switch function and,
// by CPU, the run queues' counts of switches.
func (g *Guest) Site() (trap.Site, error) {
	va, err := g.Symbol(SwitchFunction)
	if err != nil {
		return trap.Site{}, err
	}
	gpa, err := g.kernel.Translate(va)
	if err != nil {
		return trap.Site{}, fmt.Errorf("find %s: %w", SwitchFunction, err)
	}
	site := trap.Site{Symbol: SwitchFunction, VA: va, GFN: gpa >> 12}
	for cpu := range g.driver.VCPUs() {
		gfn, off, err := g.kernel.CounterPlace(cpu)
		if err != nil {
			return trap.Site{}, fmt.Errorf("find the counters of run queue %d: %w", cpu, err)
		}
		site.Counters = append(site.Counters, trap.Place{GFN: gfn, Offset: off})
	}
	return site, nil
}

// Attach attaches a monitor, with a journal. It fills in the ways to guest and clock;
// c says the rest.
func (g *Guest) Attach(c monitor.Config) (*recovery.Session, error) {
	site, err := g.Site()
	if err != nil {
		return nil, err
	}
	c.Driver, c.Site, c.Symbols, c.Kernel = g.watched.Driver, site, g.watched.Kernel, g.watched.Kernel
	c.Now = clock.Now
	return g.AttachExactly(c)
}

// AttachExactly attaches a monitor, with a journal, to what c says.
func (g *Guest) AttachExactly(c monitor.Config) (*recovery.Session, error) {
	return g.host.Attach(g.Domid, c)
}
