package libvmi

import (
	"errors"
	"fmt"
	"unsafe"
)

// fakeEvent is an event of LibVMI.
type fakeEvent struct {
	spec Spec
	h    handle
	// handled: LibVMI has a handler for it.
	handled bool
}

// fakeLib is LibVMI in memory. It delivers the events of the ring within listen. It
// leaves a vCPU waiting if its event has no handler. If a handler clears an event, it
// clears the event at the end of listen.
type fakeLib struct {
	log    []string
	live   map[unsafe.Pointer]*fakeEvent
	ring   []Event
	stuck  []Event // events that nobody answered
	answer []Response

	inCallback bool
	deferred   []unsafe.Pointer
	paused     int
	traps      map[string]Trap
	views      map[View]bool
	slatOn     bool
	vcpu       View // the view of all vCPUs
	destroyed  bool
	fail       string // name of a method that fails
	config     string
	pages      map[uint64][]byte // the mapped frames
	guest      map[uint64][]byte // the guest's present frames
}

func newFake() *fakeLib {
	return &fakeLib{live: map[unsafe.Pointer]*fakeEvent{}, traps: map[string]Trap{}, views: map[View]bool{},
		pages: map[uint64][]byte{}, guest: map[uint64][]byte{}}
}

func (f *fakeLib) did(what string, args ...any) error {
	f.log = append(f.log, fmt.Sprintf(what, args...))
	if f.fail != "" && f.log[len(f.log)-1] == f.fail {
		return &Error{Func: f.fail}
	}
	return nil
}

func (f *fakeLib) initOS(config string) error { f.config = config; return f.did("initOS") }
func (f *fakeLib) destroy() error {
	f.destroyed = true
	return f.did("destroy")
}
func (f *fakeLib) vcpus() int { return 2 }
func (f *fakeLib) pause() error {
	f.paused++
	return f.did("pause")
}
func (f *fakeLib) resume() error {
	f.paused--
	return f.did("resume")
}
func (f *fakeLib) registers(vcpu int, r *Registers) error  { r.RIP = uint64(vcpu); return nil }
func (f *fakeLib) symbol(string) (uint64, error)           { return 0, nil }
func (f *fakeLib) flushPages()                             { clear(f.pages) }
func (f *fakeLib) nextGFN() (uint64, error)                { return 7, nil }
func (f *fakeLib) allocGFN(uint64) error                   { return nil }
func (f *fakeLib) freeGFN(gfn uint64) error                { delete(f.guest, gfn); return nil }
func (f *fakeLib) read(a *Address, b []byte) (int, error)  { return f.readPhysical(a.addr, b) }
func (f *fakeLib) setSLAT(on bool) error                   { f.slatOn = on; return f.did("slat %v", on) }
func (f *fakeLib) changeGFN(v View, from, to uint64) error { return nil }

func (f *fakeLib) readPhysical(pa uint64, b []byte) (int, error) {
	gfn := pa / PageSize
	if f.pages[gfn] == nil {
		if f.guest[gfn] == nil {
			return 0, &Error{Func: "vmi_read_pa"}
		}
		f.pages[gfn] = f.guest[gfn]
	}
	return copy(b, f.pages[gfn][pa%PageSize:]), nil
}

func (f *fakeLib) writePhysical(pa uint64, b []byte) (int, error) {
	return copy(f.guest[pa/PageSize][pa%PageSize:], b), nil
}

func (f *fakeLib) register(s *Spec, h handle) (unsafe.Pointer, error) {
	if err := f.did("register %v", s.Kind); err != nil {
		return nil, err
	}
	e := &fakeEvent{*s, h, true}
	f.live[unsafe.Pointer(e)] = e
	return unsafe.Pointer(e), nil
}

func (f *fakeLib) clear(raw unsafe.Pointer) error {
	e := f.live[raw]
	if e == nil {
		return errors.New("cleared after it was freed")
	}
	if f.inCallback {
		f.deferred = append(f.deferred, raw)
		return nil
	}
	err := f.did("clear %v", e.spec.Kind)
	e.handled = err != nil
	cleared(e.h, err == nil)
	return err
}

func (f *fakeLib) free(raw unsafe.Pointer) {
	if f.live[raw] == nil {
		panic("freed twice")
	}
	delete(f.live, raw)
}

func (f *fakeLib) stopStep(raw unsafe.Pointer, vcpu int) error { return f.did("stop step %d", vcpu) }

func (f *fakeLib) setTrap(gfn uint64, t Trap, v View) error {
	f.traps[fmt.Sprintf("%d/%d", v, gfn)] = t
	return f.did("trap %d of %d in %d", t, gfn, v)
}

func (f *fakeLib) listen(uint32) error {
	f.log = append(f.log, "listen")
	for len(f.ring) > 0 {
		ev := f.ring[0]
		f.ring = f.ring[1:]
		var e *fakeEvent
		for _, x := range f.live {
			if x.handled && x.spec.Kind == ev.Kind {
				e = x
			}
		}
		if e == nil {
			f.stuck = append(f.stuck, ev)
			return &Error{Func: "vmi_events_listen"}
		}
		f.inCallback = true
		r := dispatch(e.h, func(out *Event) { *out = ev })
		f.inCallback = false
		if r.SetView {
			f.vcpu = r.View
		}
		f.answer = append(f.answer, *r)
	}
	for _, raw := range f.deferred {
		f.clear(raw)
	}
	f.deferred = nil
	return nil
}

func (f *fakeLib) createView() (View, error) {
	v := View(len(f.views) + 1)
	f.views[v] = true
	return v, f.did("create view")
}

func (f *fakeLib) destroyView(v View) error {
	if f.vcpu == v {
		return errors.New("a vCPU is in the view")
	}
	delete(f.views, v)
	return f.did("destroy view %d", v)
}

func (f *fakeLib) switchView(v View) error {
	f.vcpu = v
	return f.did("switch %d", v)
}
