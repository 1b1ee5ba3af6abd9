package libvmi

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	vmi "hangbench/cgo/libvmi"
	"hangbench/monitor/linux"
)

// Fields returns the structure fields that Check needs besides those of monitor/linux.
func Fields() []string { return []string{"task_struct.mm?", "mm_struct.pgd?"} }

// Check opens a guest by its name, with LibVMI's own reader of Linux. LibVMI gets the
// offsets and symbols of layout, in a configuration in memory. Check returns an error
// if LibVMI and ours differ in the address of a symbol, in the slide, or in a
// translation.
func Check(domain string, layout linux.Layout, ours *linux.Kernel) (err error) {
	l := &vmi.Linux{Slide: ours.Slide()}
	for _, f := range []struct {
		into        *uint64
		typ, member string
	}{
		{&l.Tasks, "task_struct", "tasks"}, {&l.MM, "task_struct", "mm"}, {&l.PID, "task_struct", "pid"},
		{&l.Name, "task_struct", "comm"}, {&l.PGD, "mm_struct", "pgd"},
	} {
		at, ok := layout.Field(f.typ, f.member)
		if !ok {
			return fmt.Errorf("the kernel's profile has no %s.%s", f.typ, f.member)
		}
		*f.into = uint64(at.Offset)
	}
	names := []string{"init_task", "linux_banner"}
	for _, name := range names {
		addr, perCPU, ok := layout.Lookup(name)
		if !ok || perCPU {
			return fmt.Errorf("the kernel has no symbol %s", name)
		}
		l.Symbols = append(l.Symbols, vmi.KernelSymbol{Name: name, Addr: addr})
	}
	v, err := vmi.Open(vmi.ByName(domain), vmi.Config{Linux: l})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	banner := []byte(layout.Banner())
	for _, name := range names {
		va, err := v.Symbol(name)
		if err != nil {
			return err
		}
		want, err := ours.Symbol(name)
		if err != nil {
			return err
		}
		if va != want {
			return fmt.Errorf("LibVMI finds %s at %#x, it is at %#x", name, va, want)
		}
		pa, err := ours.Translate(va)
		if err != nil {
			return err
		}
		// Each kind of address must read the same bytes. The banner does not change.
		for _, a := range []vmi.Address{vmi.Physical(pa), vmi.InProcess(va, 0), vmi.Symbol(name)} {
			if name != "linux_banner" {
				break
			}
			b := make([]byte, len(banner))
			if err := v.Read(a, b); err != nil {
				return err
			}
			if !bytes.Equal(b, banner) {
				return fmt.Errorf("LibVMI reads %q at %v, the kernel's banner is %q", b, a, banner)
			}
		}
	}
	return nil
}

const (
	// checkedEvents is the number of events after which the handler clears the event. It
	// is more than one, so that some come after an answer.
	checkedEvents = 20
	// eventsDeadline is the longest wait for them, on this machine's clock. Even an idle
	// guest switches tasks some times a second.
	eventsDeadline = 10 * time.Second
	// quiet is the time after that in which no event may come.
	quiet = 200 * time.Millisecond
)

// CheckEvents checks LibVMI's events of single frames. (Listen uses one event for all
// frames.) It registers executions in the frame gfn, first in the host view and then in
// another view. After some events the handler clears the registration, and no further
// event may come. CheckEvents leaves the guest without views, traps and ring.
func (d *Driver) CheckEvents(gfn uint64) (err error) {
	v, err := d.open(true)
	if err != nil {
		return err
	}
	r := &ring{d: d, v: v}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := checkFrame(v, gfn, 0); err != nil {
		return fmt.Errorf("events of a frame in the host view: %w", err)
	}
	if err := v.EnableViews(true); err != nil {
		return err
	}
	view, err := v.CreateView()
	if err == nil {
		if err = checkFrame(v, gfn, view); err != nil {
			err = fmt.Errorf("events of a frame in another view: %w", err)
		}
		err = errors.Join(err, v.SwitchView(0), v.DestroyView(view))
	}
	return errors.Join(err, v.EnableViews(false))
}

// checkFrame registers executions in a frame in a view, waits for events, clears the
// registration in its handler, and checks that no further event comes.
func checkFrame(v *vmi.VMI, gfn uint64, view vmi.View) error {
	var reg *vmi.Registration
	var wrong error
	n := 0
	reg, err := v.Register(vmi.MemoryEvent(gfn, vmi.TrapExec, view), func(e *vmi.Event) vmi.Response {
		if n++; e.Kind != vmi.KindMemory || e.GFN != gfn || e.View != view || e.Access&vmi.TrapExec == 0 {
			wrong = fmt.Errorf("a %v event of frame %#x, access %v, in view %d: the trap is on executing frame %#x in view %d",
				e.Kind, e.GFN, e.Access, e.View, gfn, view)
		}
		if n == checkedEvents || wrong != nil {
			wrong = errors.Join(wrong, reg.Clear())
		}
		return vmi.Response{Emulate: true}
	})
	if err != nil {
		return err
	}
	if view != 0 {
		if err := v.SwitchView(view); err != nil {
			return err
		}
	}
	for end := time.Now().Add(eventsDeadline); n < checkedEvents && wrong == nil; {
		if time.Now().After(end) {
			return fmt.Errorf("%d events within %v, want %d", n, eventsDeadline, checkedEvents)
		}
		if err := v.Listen(maxWait); err != nil {
			return err
		}
	}
	if wrong != nil {
		return wrong
	}
	for end := time.Now().Add(quiet); time.Now().Before(end); {
		if err := v.Listen(maxWait); err != nil {
			return err
		}
	}
	if n != checkedEvents {
		return fmt.Errorf("%d events after the registration was cleared", n-checkedEvents)
	}
	return nil
}
