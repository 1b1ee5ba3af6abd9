package dom0

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	xc "hangbench/cgo/xenctrl"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/place"
	"hangbench/monitor"
	"hangbench/monitor/detect"
	"hangbench/monitor/driver"
	vmidriver "hangbench/monitor/driver/libvmi"
	xcdriver "hangbench/monitor/driver/xenctrl"
	"hangbench/monitor/linux"
	"hangbench/monitor/trap"
)

// ErrNoProfile says that no kernel at hand is the one that the guest runs.
var ErrNoProfile = errors.New("none of the kernels at hand is the guest's; name it with --kernel, or a folder that has it with --guests")

// Profiles reads the profile of every guest kernel in the folder of guests.
func (h *Host) Profiles() ([]*kernel.Profile, error) {
	paths, err := filepath.Glob(filepath.Join(h.Guests, "*", place.Profile))
	if err != nil {
		return nil, fmt.Errorf("look for guest kernels: %w", err)
	}
	var all []*kernel.Profile
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("guest kernel: %w", err)
		}
		p, err := kernel.ReadProfile(b)
		if err != nil {
			return nil, fmt.Errorf("guest kernel %s: %w", path, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// tryGuest opens a domain whose kernel can be read.
func (h *Host) tryGuest(domid int, profiles []*kernel.Profile) (*Guest, error) {
	g := &Guest{Domid: domid, host: h}
	errs := []error{fmt.Errorf("domain %d: %w", domid, ErrNoProfile)}
	for _, p := range profiles {
		g.profile, g.Release = p, p.Release
		err := g.open(layout{p})
		if err == nil {
			return g, nil
		}
		err = fmt.Errorf("Linux %s: %w", p.Release, err)
		if errors.Is(err, linux.ErrBooting) { // it is this one
			return nil, errors.Join(fmt.Errorf("domain %d: %w", domid, err), g.Close())
		}
		errs = append(errs, err, g.Close())
	}
	return nil, errors.Join(errs...)
}

// A guest that has just been started cannot be read yet: for some seconds at most
// not even which kernel it runs, and after that until it schedules. Youth is the CPU
// time up to which it may be such a guest.
const (
	unknownTime = 10 * time.Second
	bootTime    = time.Minute
	youth       = time.Minute
)

// OpenGuest opens a domain that is there already, whoever made it. It needs
// nothing of the guest's help, no heartbeat either; the kernel it runs is the one
// of the profiles whose banner stands in its memory. One that has just been started
// it gives the time to get so far, and says once that it does. The caller closes the
// guest with Close and must not use it for trials.
func (h *Host) OpenGuest(ctx context.Context, domid int, profiles []*kernel.Profile, say func(string)) (*Guest, error) {
	began, said := now(), false
	for {
		g, err := h.tryGuest(domid, profiles)
		most := int64(0)
		switch {
		case err == nil:
			return g, nil
		case errors.Is(err, linux.ErrBooting):
			most = int64(bootTime)
		case errors.Is(err, ErrNoProfile):
			if info, ierr := h.xen.Domain(xc.DomID(domid)).Info(); ierr == nil && info.CPUTimeNS < uint64(youth) {
				most = int64(unknownTime)
			}
		}
		if now()-began >= most {
			return nil, err
		}
		if !said {
			said = true
			say(fmt.Sprintf("domain %d has just been started: wait until its kernel can be read", domid))
		}
		if serr := sleep(ctx, 100*time.Millisecond); serr != nil {
			return nil, serr
		}
	}
}

// Close lets go of a guest that stays up.
func (g *Guest) Close() error {
	var err error
	if g.mapping != nil {
		err = g.mapping.Close()
	}
	return errors.Join(err, g.closeDrivers())
}

func (g *Guest) closeDrivers() error {
	var err error
	if g.vmi != nil {
		err = g.vmi.Close()
		g.vmi = nil
	}
	if g.driver != nil {
		err = errors.Join(err, g.driver.Close())
	}
	return err
}

// Drivers are the names of what a monitor can watch through.
func Drivers() []string { return []string{xenctrl, libvmi} }

const (
	xenctrl = "xenctrl"
	libvmi  = "libvmi"
)

// watched is a driver that a monitor watches through.
type watched interface {
	driver.Driver
	// Forget lets go of all pages: the next read maps its own again.
	Forget() error
	Close() error
}

// use has monitors watch through a driver, and read the kernel through it too. A
// fault is always injected through libxenctrl.
func (g *Guest) use(name string) error {
	switch {
	case name == xenctrl || name == "":
		g.watched, g.watchedKern = g.driver, g.kern
		return nil
	case name != libvmi:
		return fmt.Errorf("there is no driver %q; there are %s", name, strings.Join(Drivers(), ", "))
	}
	if g.vmi == nil {
		d, err := vmidriver.New(g.host.xen, g.Domid)
		if err != nil {
			return fmt.Errorf("driver libvmi: %w", err)
		}
		regs, err := g.registers()
		if err == nil {
			g.vmiKern, err = linux.Open(d, layout{g.profile}, regs...)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("driver libvmi: %w", err), d.Close())
		}
		g.vmi = d
	}
	g.watched, g.watchedKern = g.vmi, g.vmiKern
	return nil
}

// open opens driver and kernel of a domain that exists.
func (g *Guest) open(l linux.Layout) error {
	var err error
	if g.driver, err = xcdriver.New(g.host.xen, g.Domid); err != nil {
		return err
	}
	regs, err := g.registers()
	if err != nil {
		return err
	}
	if g.kern, err = linux.Open(g.driver, l, regs...); err != nil {
		return err
	}
	return g.use(g.host.Driver)
}

// journaled is an attached monitor with its journal.
type journaled struct {
	*monitor.Session
	j *journal
}

// Detach lets go of the guest. If that fails the journal stays: the guest can be
// recovered. One that is being destroyed takes its journal along.
func (s *journaled) Detach() (monitor.Counters, error) {
	c, err := s.Session.Detach()
	gone := errors.Is(err, monitor.ErrGone)
	jerr := s.j.end(err == nil || gone)
	if gone && errors.Is(jerr, xc.ErrNotExist) {
		jerr = nil
	}
	return c, errors.Join(err, jerr)
}

// attach attaches a monitor, with a journal of what it changes.
func (g *Guest) attach(m trap.Mechanism, t detect.Thresholds, sample time.Duration, record func(*detect.Observation)) (*journaled, error) {
	return g.attachAs(monitor.Config{Mechanism: m, Thresholds: t, Sample: sample, Record: record})
}

// attachAs attaches a monitor as c says, whose ways to guest, clock and journal
// are filled in here.
func (g *Guest) attachAs(c monitor.Config) (*journaled, error) {
	site, err := g.site()
	if err != nil {
		return nil, err
	}
	c.Driver, c.Site, c.Symbols, c.Kernel, c.Now = g.watched, site, g.watchedKern, g.watchedKern, now
	return g.attachWith(c)
}

// attachWith attaches a monitor as c says, with a journal.
func (g *Guest) attachWith(c monitor.Config) (*journaled, error) {
	j, err := g.host.beginJournal(g.Domid, c.Mechanism.Name)
	if err != nil {
		return nil, err
	}
	c.Journal = j
	s, err := monitor.Attach(c)
	if err != nil {
		// Busy: somebody else has the ring, and nothing was done to the guest.
		return nil, errors.Join(err, j.end(j.inOrder || errors.Is(err, xc.ErrBusy)))
	}
	return &journaled{s, j}, nil
}
