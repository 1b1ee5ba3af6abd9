package xenctrl

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"time"

	"hangbench/cgo/xenctrl/internal/vmevent"
)

func isInvalid(err error) bool { return errors.Is(err, syscall.EINVAL) }

// Leftover lists the changes in a guest that a dead monitor has made and that Xen does
// not tell. The zero value is for a monitor that used only views, or of which nothing
// is known.
type Leftover struct {
	// Restricted are the frames whose permissions in the host view are reset to rwx.
	// Frames without memory are skipped.
	Restricted []uint64
	Patched    []Patched
	// Added are the frames of memory that the monitor gave to the guest. They are
	// removed.
	Added []uint64
	// Unpause: the guest's pauses are the monitor's. Up to maxPauses of them are
	// undone.
	Unpause bool
}

// Patched is guest memory that a monitor has overwritten. It lies in one frame.
type Patched struct {
	GPA     uint64
	Old, By []byte // the original bytes and the monitor's, of equal length
}

// maxPauses is above the number of pauses that one monitor can have on a guest. It has
// two at most: one while it detaches, and one in [Monitor.Disable].
const maxPauses = 4

// Recovery says what [Domain.Recover] found and did.
type Recovery struct {
	MonitorWasOn  bool // a dead monitor's ring was still enabled
	Altp2mWasOn   bool
	Restricted    int  // frames found restricted in the host view
	AccessReset   int  // frames set to rwx, restricted or not
	BytesRestored int  // bytes of memory that were patched, and were restored
	FramesRemoved int  // frames of memory removed
	Unpaused      int  // pauses undone
	Answered      bool // Xen took a response for every vCPU
	StillPaused   bool // the domain is still paused; Unpause it if it should run
}

// answerRounds is the number of responses for each vCPU. A vCPU waits for one response
// for each synchronous event: usually one, rarely two from the same exit. Xen ignores
// further responses.
const answerRounds = 4

// Recover undoes the changes in the guest of a monitor that died or exited without
// [Monitor.Disable]. No other monitor may have the guest. A guest without such changes
// is not harmed.
//
// A dead monitor leaves this behind (from the source of Xen 4.20):
//
//   - The ring stays enabled, so that a new one is EBUSY. Nobody can map it again:
//     xc_monitor_enable takes its page out of the guest.
//   - A vCPU with a synchronous event waits on vm_event_pause_count
//     (vm_event_vcpu_pause in monitor_traps). Only a response with
//     FlagVCPUPaused lowers it (vm_event_resume, vm_event_vcpu_unpause).
//     xc_monitor_disable (vm_event_disable) wakes only the vCPUs that wait for a
//     slot of the ring (_VPF_mem_access). Pausing and unpausing the domain does
//     not change the count, nor do the events of a later monitor. But
//     vm_event_resume does not require a request: a response in a new ring
//     frees the vCPU that it names, and is ignored if that vCPU does not wait.
//   - single_step stays set. Without a monitor hvm_monitor_debug returns at
//     once, so the vCPU steps on, slowly and without events.
//     XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF clears it, and the fast single step.
//     Before Xen 4.19 a fast single step too never ends without a monitor
//     ([Facts.FastStepNeedsEvents]).
//   - altp2m views stay. Switching altp2m off frees all of them.
//   - Patched memory stays. A vCPU that reported a breakpoint executes the same
//     address again after the answer, so the original must be restored before.
//     Memory is restored only if it still holds the patch.
//   - A write of CR3 exits to Xen until the guest's CR0 is set up again.
//     Switching the event on and off does that.
//   - Page permissions stay. Without a ring p2m_mem_access_check resets them at
//     each violation, or crashes the domain if a listener was required. Setting
//     them needs a ring (mem_access_memop).
//
// So Recover pauses the domain, disables the ring, restores memory, ends the
// steps, switches altp2m off, enables a ring of its own, resets permissions,
// answers for every vCPU, disables its ring, and unpauses the domain. If vCPUs
// wait for a slot of the lost ring, disabling it is [ErrBusy] for ever, and the
// guest can only be destroyed. That takes more than eight vCPUs, or
// asynchronous events.
func (d Domain) Recover(left Leftover) (r Recovery, err error) {
	hv := d.x.hv
	info, err := hv.Domain(d.id)
	if err != nil {
		return r, err
	}
	if err := hv.Pause(d.id); err != nil {
		return r, err
	}
	err = d.recoverPaused(info.MaxVCPU+1, left, &r)
	err = errors.Join(err, hv.Unpause(d.id))
	if err != nil {
		return r, fmt.Errorf("recover domain %d: %w", d.id, err)
	}
	for {
		if info, err = hv.Domain(d.id); err != nil {
			return r, err
		}
		r.StillPaused = info.Paused
		if !info.Paused || !left.Unpause || r.Unpaused == maxPauses {
			return r, nil
		}
		if err := hv.Unpause(d.id); err != nil {
			return r, fmt.Errorf("recover domain %d: %w", d.id, err)
		}
		r.Unpaused++
	}
}

func (d Domain) recoverPaused(vcpus int, left Leftover, r *Recovery) error {
	hv := d.x.hv
	// EINVAL: no ring is enabled.
	switch err := hv.DisableMonitor(d.id); {
	case err == nil:
		r.MonitorWasOn = true
	case !isInvalid(err):
		return err
	}
	for _, p := range left.Patched {
		n, err := d.restore(p)
		if err != nil {
			return err
		}
		r.BytesRestored += n
	}
	if err := stopStepping(hv, d.id, vcpus); err != nil {
		return err
	}
	// EINVAL and unsupported: the guest or the host has no altp2m.
	on, err := hv.Altp2m(d.id)
	if err != nil && !isInvalid(err) && !errors.Is(err, ErrUnsupported) {
		return err
	}
	if on {
		if err := hv.SetAltp2m(d.id, false); err != nil {
			return err
		}
		r.Altp2mWasOn = true
	}
	if err := hv.SetAccessRequired(d.id, false); err != nil {
		return err
	}
	for _, gfn := range left.Added {
		// The frame may be removed already, or the monitor may have died before it
		// added it.
		if hv.Depopulate(d.id, gfn) == nil {
			r.FramesRemoved++
		}
	}
	return d.withOwnRing(vcpus, left.Restricted, r)
}

// restore restores memory if it still holds the patch, and returns the number of bytes.
// If the frame is gone there is nothing to restore.
func (d Domain) restore(p Patched) (int, error) {
	off := p.GPA % PageSize
	if len(p.By) != len(p.Old) || off+uint64(len(p.Old)) > PageSize {
		return 0, fmt.Errorf("restore %d bytes over %d at %#x: want equal lengths, in one frame", len(p.Old), len(p.By),
			p.GPA)
	}
	m, err := d.Map([]uint64{p.GPA / PageSize}, ReadWrite)
	if err != nil {
		return 0, nil
	}
	defer m.Close()
	at := m.Bytes()[off : off+uint64(len(p.Old))]
	if !bytes.Equal(at, p.By) {
		return 0, nil
	}
	return copy(at, p.Old), nil
}

// withOwnRing does the parts of Recover that need a ring: it resets permissions, and
// answers for vCPUs that wait for a response to an event of the lost ring.
func (d Domain) withOwnRing(vcpus int, restricted []uint64, r *Recovery) (err error) {
	hv := d.x.hv
	page, _, err := hv.EnableMonitor(d.id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hv.DisableMonitor(d.id), hv.Unmap(page)) }()
	rg, err := newRing(page, vcpus-1)
	if err != nil {
		return err
	}
	// This sets up the exits on CR3 anew. No event comes: the domain is paused.
	for _, on := range []bool{true, false} {
		if err := hv.MonitorCtrlReg(d.id, CR3, on, false, 0, true); err != nil && !errors.Is(err, ErrUnsupported) {
			return err
		}
	}
	for _, gfn := range restricted {
		if a, err := hv.Access(d.id, gfn); err == nil && a != AccessRWX {
			r.Restricted++
		}
		if hv.SetAccess(d.id, gfn, 1, AccessRWX) == nil {
			r.AccessReset++
		}
	}
	send := func() error {
		if !rg.publish() {
			return nil
		}
		// XEN_VM_EVENT_RESUME has the effect of a notification, without an event
		// channel.
		if err := hv.ResumeMonitor(d.id); err != nil {
			return err
		}
		if !rg.consumed() {
			return fmt.Errorf("event ring: Xen did not take the responses: %w", ErrCorrupt)
		}
		return nil
	}
	for range answerRounds {
		for v := range vcpus {
			rg.push(&Response{VCPU: v, Flags: FlagVCPUPaused})
			if rg.rspProd-rg.pub == vmevent.RingSize {
				if err := send(); err != nil {
					return err
				}
			}
		}
	}
	if err := send(); err != nil {
		return err
	}
	r.Answered = true
	return nil
}

// Health says what [Domain.Probe] found.
type Health struct {
	RingFree   bool     // Probe could open the ring, and closed it
	Altp2m     bool     // alternate views are on
	Restricted []uint64 // frames of Leftover.Restricted that are restricted
	Stray      int      // events that came without a source switched on
	Stepping   bool     // one of these was a single step
	Paused     bool     // the domain is paused
	Standing   int      // patches that are still in memory
}

// OK reports whether a monitor has left nothing behind. Paused does not count.
func (h *Health) OK() bool {
	return h.RingFree && !h.Altp2m && len(h.Restricted) == 0 && h.Stray == 0 && h.Standing == 0
}

// probeEvents is the number of stray events after which Probe ends.
const probeEvents = 64

// Probe checks whether a monitor has left something behind in the guest. It opens the
// event ring, switches events on single steps on, and counts the events that come
// within wait: a guest without a monitor has none. Call it after [Domain.Recover]. No
// other monitor may have the guest.
func (d Domain) Probe(left Leftover, wait time.Duration) (h Health, err error) {
	hv := d.x.hv
	info, err := hv.Domain(d.id)
	if err != nil {
		return h, err
	}
	h.Paused = info.Paused
	if h.Altp2m, err = hv.Altp2m(d.id); err != nil && !isInvalid(err) && !errors.Is(err, ErrUnsupported) {
		return h, err
	}
	for _, p := range left.Patched {
		m, err := d.Map([]uint64{p.GPA / PageSize}, ReadOnly)
		if err != nil {
			continue
		}
		if off := p.GPA % PageSize; off+uint64(len(p.By)) <= PageSize && len(p.By) > 0 &&
			bytes.Equal(m.Bytes()[off:off+uint64(len(p.By))], p.By) {
			h.Standing++
		}
		if err := m.Close(); err != nil {
			return h, err
		}
	}
	m, err := d.EnableMonitor()
	if errors.Is(err, ErrBusy) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	err = h.listen(m, left.Restricted, wait)
	if err = errors.Join(err, m.Disable()); err == nil {
		h.RingFree = true
	}
	return h, err
}

func (h *Health) listen(m *Monitor, restricted []uint64, wait time.Duration) error {
	if err := m.SingleStep(true); err != nil && !errors.Is(err, ErrUnsupported) {
		return err
	}
	for _, gfn := range restricted {
		if a, err := m.d.MemAccess(gfn); err == nil && a != AccessRWX {
			h.Restricted = append(h.Restricted, gfn)
		}
	}
	var ev Event
	for end := time.Now().Add(wait); h.Stray < probeEvents; {
		left := time.Until(end)
		if left <= 0 {
			break
		}
		if _, err := m.Wait(left); err != nil {
			return err
		}
		for m.Next(&ev) {
			h.Stray++
			rsp := ev.Response()
			if ev.Reason == ReasonSingleStep {
				h.Stepping = true
				rsp.Flags |= FlagToggleSingleStep
			}
			if err := m.Respond(&rsp); err != nil {
				return err
			}
		}
		if err := m.Err(); err != nil {
			return err
		}
	}
	return m.Notify()
}
