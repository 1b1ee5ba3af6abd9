package xenctrl

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

// Monitor is the event ring of one guest. A guest has one ring, for one monitor at a
// time. All methods but Interrupt belong to one goroutine.
type Monitor struct {
	d    Domain
	page []byte
	ring *ring
	ch   EventChannel

	vcpus int
	steps bool // single-step events are on
	intr  atomic.Bool
	mu    sync.Mutex // guards ch against Interrupt after Disable
	gone  bool
}

// EnableMonitor opens the guest's event ring. The error is [ErrBusy] if another monitor
// has it, or had it when it died ([Domain.Recover]).
// (xc_monitor_enable, xenevtchn_bind_interdomain)
func (d Domain) EnableMonitor() (*Monitor, error) {
	hv := d.x.hv
	info, err := hv.Domain(d.id)
	if err != nil {
		return nil, err
	}
	// The ring's counters are reset below. If the guest ran, an event of a page that is
	// restricted already would be lost, and its vCPU would wait for ever.
	if err := hv.Pause(d.id); err != nil {
		return nil, err
	}
	m, err := d.enableMonitor(info.MaxVCPU + 1)
	if uerr := hv.Unpause(d.id); uerr != nil && err == nil {
		return nil, joinClose(uerr, m.Disable())
	}
	return m, err
}

func (d Domain) enableMonitor(vcpus int) (*Monitor, error) {
	hv := d.x.hv
	page, port, err := hv.EnableMonitor(d.id)
	if err != nil {
		return nil, err
	}
	undo := func(err error) error {
		return errors.Join(err, hv.DisableMonitor(d.id), hv.Unmap(page))
	}
	r, err := newRing(page, vcpus-1)
	if err != nil {
		return nil, undo(err)
	}
	ch, err := hv.OpenChannel(d.id, port, page)
	if err != nil {
		return nil, undo(err)
	}
	return &Monitor{d: d, page: page, ring: r, ch: ch, vcpus: vcpus}, nil
}

// Stats returns the counters of the ring.
func (m *Monitor) Stats() RingStats { return m.ring.stats }

// Next fills ev with the next event and reports whether there was one. Events come in
// the order of their requests. Once Next finds the ring corrupt it returns false for
// ever; see Err. Each event needs a response, in any order.
func (m *Monitor) Next(ev *Event) bool { return m.ring.next(ev) }

// Err returns the reason if Next found the ring corrupt. The caller can then only
// disable the monitor.
func (m *Monitor) Err() error { return m.ring.err }

// Respond queues the response to an event. Notify or Wait sends it. An error says that
// the response is invalid and was not queued.
func (m *Monitor) Respond(rsp *Response) error {
	if rsp.Flags&FlagFastSingleStep != 0 && !m.steps {
		return errors.New("response with FlagFastSingleStep while events on single steps are off: " +
			"before Xen 4.19 the step never ends; call SingleStep(true) first")
	}
	return m.ring.respond(rsp)
}

// Notify sends the queued responses. Xen acts on all of them before Notify returns.
// Without any it does nothing.
func (m *Monitor) Notify() error {
	if !m.ring.publish() {
		return nil
	}
	return m.ch.Notify()
}

// Wait sends the queued responses. Then it waits until there are events, the time is
// over or Interrupt is called. It does not wait if there are events already. If the
// process gets a signal, it may return early with no bit set. A negative timeout waits
// for ever, 0 does not wait.
func (m *Monitor) Wait(timeout time.Duration) (Wake, error) {
	notify := m.ring.publish()
	if !notify && m.ring.pending() > 0 {
		return m.interrupted(WakeEvents), nil
	}
	if m.intr.Load() {
		timeout = 0 // the channel may have used up its wake-up, or keep it for the next Wait
	}
	w, slept, err := m.ch.Wait(m.ring.reqCons, notify, timeout)
	if slept {
		m.ring.stats.Waits++
	}
	return m.interrupted(w), err
}

// interrupted adds WakeInterrupt to w once for each Interrupt.
func (m *Monitor) interrupted(w Wake) Wake {
	w &^= WakeInterrupt
	if m.intr.Load() && m.intr.Swap(false) {
		w |= WakeInterrupt
	}
	return w
}

// Interrupt makes the current or next Wait return with WakeInterrupt. Any goroutine may
// call it, also after Disable.
func (m *Monitor) Interrupt() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return nil
	}
	m.intr.Store(true)
	return m.ch.Interrupt()
}

// CtrlRegOptions selects the writes of a control register that are reported.
type CtrlRegOptions struct {
	Sync     bool   // the vCPU waits for the response
	OnChange bool   // only writes that change the value
	Ignore   uint64 // only writes that change other bits than these
}

// WriteCtrlReg switches events on writes of a control register on or off.
// (xc_monitor_write_ctrlreg)
func (m *Monitor) WriteCtrlReg(r CtrlReg, on bool, o CtrlRegOptions) error {
	return m.d.x.hv.MonitorCtrlReg(m.d.id, r, on, o.Sync, o.Ignore, o.OnChange)
}

// SingleStep switches events on single steps on or off. A response with
// FlagToggleSingleStep makes a vCPU step. While the events are off, a vCPU that steps
// reports nothing, and Respond refuses FlagFastSingleStep. The error is [ErrUnsupported]
// on a CPU without monitor trap flag. (xc_monitor_singlestep)
func (m *Monitor) SingleStep(on bool) error {
	err := m.toggle(SourceSingleStep, on)
	if err == nil {
		m.steps = on
	}
	return err
}

// SoftwareBreakpoint switches events on INT3 on or off. While they are on, the guest
// gets no INT3: answer those that are not the monitor's with
// [Domain.InjectBreakpoint]. (xc_monitor_software_breakpoint)
func (m *Monitor) SoftwareBreakpoint(on bool) error { return m.toggle(SourceBreakpoint, on) }

// EmulUnimplemented switches events on instructions that Xen cannot emulate on or off.
// While they are off, FlagEmulate on such an instruction gives the guest #UD.
// (xc_monitor_emul_unimplemented)
func (m *Monitor) EmulUnimplemented(on bool) error {
	return m.toggle(SourceEmulUnimplemented, on)
}

func (m *Monitor) toggle(s EventSource, on bool) error {
	return m.d.x.hv.MonitorToggle(m.d.id, s, on)
}

// disableTries is how often Disable frees the whole ring and lets vCPUs that wait
// inside Xen for a slot take one.
const disableTries = 50

// Disable closes the ring and lets the guest run: it switches off all sources of
// events, answers every event without a response, ends all single steps and, if altp2m
// is on, puts all vCPUs in view 0. The caller undoes its changes in memory before.
// Breakpoints must be removed. Permissions should be reset: that cannot be done
// without a monitor, and until then each restricted page costs the guest one violation,
// at which Xen resets it. (xc_monitor_disable)
func (m *Monitor) Disable() error {
	m.mu.Lock()
	if m.gone {
		m.mu.Unlock()
		return ErrClosed
	}
	m.gone = true
	m.mu.Unlock()

	err := m.disable()
	return errors.Join(err, m.ch.Close(), m.d.x.hv.Unmap(m.page))
}

func (m *Monitor) disable() (err error) {
	hv, id := m.d.x.hv, m.d.id
	if err := hv.Pause(id); err != nil {
		// If the domain is gone, so is its ring.
		return err
	}
	defer func() { err = errors.Join(err, hv.Unpause(id)) }()

	altp2m, aerr := hv.Altp2m(id)
	if aerr != nil && !errors.Is(aerr, ErrUnsupported) && !isInvalid(aerr) {
		return aerr
	}
	for try := 0; ; try++ {
		if err := m.answerAll(altp2m); err != nil {
			return err
		}
		// End the steps before the switch: a fast step that is not yet done would put
		// its vCPU back in another view.
		if err := stopStepping(hv, id, m.vcpus); err != nil {
			return err
		}
		if altp2m {
			if err := hv.SwitchView(id, 0); err != nil {
				return err
			}
		}
		err := hv.DisableMonitor(id)
		if !errors.Is(err, ErrBusy) || try == disableTries {
			return err
		}
		// vCPUs wait inside Xen for a slot. They must run to take one.
		if err := hv.Unpause(id); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
		if err := hv.Pause(id); err != nil {
			return err
		}
	}
}

// answerAll answers every request of the ring, also those that Next has returned. The
// domain is paused, so new requests come only from vCPUs that waited for a slot.
func (m *Monitor) answerAll(altp2m bool) error {
	if err := m.Notify(); err != nil {
		return err
	}
	plain := Response{Flags: FlagVCPUPaused}
	if altp2m {
		plain.Flags |= FlagAlternateP2M // View 0
	}
	// Of a request that was taken and not answered only the caller knew the vCPU. Xen
	// ignores the answer to a vCPU that does not wait, so every vCPU gets one.
	rounds := 0
	if m.ring.rspProd != m.ring.reqCons {
		rounds = 1
	}
	corrupt := false
	var ev Event
	for {
		// Take all requests before the first answer: the answers to all vCPUs may
		// overwrite their slots.
		var waiting []Response
		for m.ring.next(&ev) {
			plain.VCPU, plain.Reason = ev.VCPU, ev.Reason
			waiting = append(waiting, plain)
		}
		// Requests of a corrupt ring cannot be read.
		if m.ring.err != nil && !corrupt {
			corrupt, rounds = true, answerRounds
		}
		for ; rounds > 0; rounds-- {
			for v := range m.vcpus {
				plain.VCPU, plain.Reason = v, ReasonUnknown
				waiting = append(waiting, plain)
			}
		}
		if len(waiting) == 0 {
			return nil
		}
		for i := range waiting {
			m.ring.push(&waiting[i])
			if m.ring.rspProd-m.ring.pub == vmevent.RingSize {
				if err := m.Notify(); err != nil {
					return err
				}
			}
		}
		if err := m.Notify(); err != nil {
			return err
		}
	}
}

// stopStepping ends single-steps, plain and fast, on all vCPUs.
func stopStepping(hv Hypervisor, id DomID, vcpus int) error {
	for v := range vcpus {
		err := hv.SetSingleStep(id, v, false)
		if errors.Is(err, ErrUnsupported) {
			return nil // no monitor trap flag: nothing can be stepping
		}
		if err != nil && !isInvalid(err) { // EINVAL: there is no such vCPU
			return fmt.Errorf("end single-stepping: %w", err)
		}
	}
	return nil
}
