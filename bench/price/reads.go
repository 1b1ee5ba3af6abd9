package price

import (
	"errors"
	"fmt"
	"slices"

	"hangbench/bench/dom0"
	"hangbench/bench/price/event"
	"hangbench/bench/price/tsc"
	xc "hangbench/cgo/xenctrl"
	"hangbench/monitor/driver/libvmi"
)

// readsEach is the number of reads of each kind that are timed.
const readsEach = 101

// reads measures how long reading guest memory takes. With LibVMI it also checks that
// LibVMI reads the kernel as the monitor does, and that it reports events.
func (g *guest) reads() (*event.Reads, error) {
	r := &event.Reads{}
	d := g.Watched().Driver
	if vmi, ok := d.(*libvmi.Driver); ok {
		r.Kernel, r.Frame = verdict(g.CheckLibVMI()), verdict(vmi.CheckEvents(g.site.GFN))
	}
	gpa := g.site.GFN << 12
	var b [8]byte
	var cycles [2][]uint64 // of reads from a mapped page, and from one not yet mapped
	for i := range 2 * readsEach {
		if i%2 == 1 {
			if err := d.Forget(); err != nil {
				return nil, err
			}
		}
		start := tsc.Read()
		if err := d.ReadPhysical(gpa, b[:]); err != nil {
			return nil, err
		}
		// A read with an odd number maps the page for the next one. The first two reads are
		// not counted: they also load the code that reads.
		if n := tsc.Read() - start; i > 1 {
			cycles[i%2] = append(cycles[i%2], n)
		}
	}
	for _, c := range cycles {
		slices.Sort(c)
	}
	r.Mapped, r.Unmapped = cycles[0][len(cycles[0])/2], cycles[1][len(cycles[1])/2]
	var err error
	r.Stale, err = g.stale(d)
	return r, err
}

// verdict is "ok", or the error's text.
func verdict(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

// hole returns the number of a frame that the guest does not have and that lies
// below one that it has: LibVMI reads nothing above the frames that were there when
// it opened the guest.
func hole(dom xc.Domain) (uint64, error) {
	top, err := dom.MaxGFN()
	if err != nil {
		return 0, err
	}
	const tries = 4096
	for gfn := top; gfn > 0 && top-gfn < tries; gfn-- {
		m, err := dom.Map([]uint64{gfn}, xc.ReadOnly)
		if err != nil {
			return gfn, nil // nothing there
		}
		there := m.Page(0) != nil
		if err := m.Close(); err != nil {
			return 0, err
		}
		if !there {
			return gfn, nil
		}
	}
	return 0, fmt.Errorf("none of the %d frames below %#x is a hole", tries, top)
}

// stale reports whether the driver reads old memory where a frame was exchanged. It
// gives the guest a frame that the guest does not know, takes it away and gives it
// another in its place, and reads there before and after the driver forgets its
// pages. It is an error if the driver still reads old memory then.
func (g *guest) stale(d dom0.Driver) (stale bool, err error) {
	dom := g.Host().Xen.Domain(xc.DomID(g.Domid))
	gfn, err := hole(dom)
	if err != nil {
		return false, err
	}
	given := false
	defer func() {
		if given {
			err = errors.Join(err, d.Forget(), dom.RemoveFrame(gfn))
		}
	}()
	var b [8]byte
	for i, text := range []string{"the old ", "the new "} {
		if i > 0 {
			if err := dom.RemoveFrame(gfn); err != nil {
				return false, fmt.Errorf("take a frame from the guest: %w", err)
			}
			given = false
		}
		if err := dom.AddFrame(gfn); err != nil {
			return false, fmt.Errorf("give the guest a frame: %w", err)
		}
		given = true
		m, err := dom.Map([]uint64{gfn}, xc.ReadWrite)
		if err != nil {
			return false, err
		}
		copy(m.Bytes(), text)
		if err := m.Close(); err != nil {
			return false, err
		}
		if i == 0 {
			// The driver may have found before that there is no such frame.
			if err := d.Forget(); err != nil {
				return false, err
			}
		}
		if err := d.ReadPhysical(gfn<<12, b[:]); err != nil {
			return false, fmt.Errorf("read a frame that was given to the guest: %w", err)
		}
		if got := string(b[:]); i == 0 && got != text {
			return false, fmt.Errorf("a frame that was given to the guest shows %q, not %q", got, text)
		} else if i == 1 {
			stale = got != text
		}
	}
	if err := d.Forget(); err != nil {
		return stale, err
	}
	if err := d.ReadPhysical(gfn<<12, b[:]); err != nil {
		return stale, err
	}
	if got := string(b[:]); got != "the new " {
		return stale, fmt.Errorf("the driver forgot its pages and still shows %q where the guest has \"the new \"", got)
	}
	return stale, nil
}
