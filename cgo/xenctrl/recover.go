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

// Leftover is what is known of what a dead monitor changed in a guest. The zero
// value is for a monitor that only used views, or of which nothing is known.
type Leftover struct {
	// Restricted are frames whose permissions in the host view are set back to
	// rwx. Frames without memory are skipped.
	Restricted []uint64
	Patched    []Patched
	// Added are frames of memory that the guest was given and loses again.
	Added []uint64
	// Unpause says that the pauses found are the dead monitor's too. Up to
	// maxPauses of them are taken back.
	Unpause bool
}

// Patched is guest memory that a monitor overwrote. It lies in one frame.
type Patched struct {
	GPA     uint64
	Old, By []byte // of equal length
}

// maxPauses bounds how many pauses one monitor can have on a guest. They nest
// two deep: around detaching, and in [Monitor.Disable].
const maxPauses = 4

// Recovery is what [Domain.Recover] found and did.
type Recovery struct {
	MonitorWasOn  bool // a dead monitor's ring was still enabled
	Altp2mWasOn   bool
	Restricted    int  // frames found restricted in the host view
	AccessReset   int  // frames set to rwx, restricted before or not
	BytesRestored int  // bytes of memory still patched, and put back
	FramesRemoved int  // frames of memory taken away
	Unpaused      int  // pauses taken back
	Answered      bool // responses were put for every vCPU and Xen took them
	StillPaused   bool // the toolstack holds the domain paused: Unpause it if that is not meant
}

// answerRounds is how many responses each vCPU gets. A vCPU waits for as many
// as it has synchronous events outstanding: one, and rarely a second from the
// same exit. Xen ignores those beyond.
const answerRounds = 4

// Recover undoes what a monitor left in the guest that died or exited without
// [Monitor.Disable]. Nothing else may be monitoring the guest. It is harmless
// on a guest in order. left says what the monitor changed that Xen does not tell.
//
// What is left behind, read in Xen 4.20:
//
//   - The ring stays enabled (a new one is EBUSY) and is lost: xc_monitor_enable
//     takes its page out of the guest, so nobody can map it again.
//   - A vCPU with a synchronous event waits on vm_event_pause_count
//     (vm_event_vcpu_pause in monitor_traps). Only a response with
//     FlagVCPUPaused lowers it (vm_event_resume, vm_event_vcpu_unpause).
//     xc_monitor_disable (vm_event_disable) wakes just those vCPUs that wait for
//     a slot of the ring, under _VPF_mem_access; neither domain pause and
//     unpause nor a later monitor's own events touch the count. But
//     vm_event_resume never asks for a request: in a fresh ring, a response
//     nobody asked for frees the vCPU it names, and is ignored if that vCPU
//     does not wait.
//   - single_step stays set: without a monitor hvm_monitor_debug returns at
//     once and the vCPU goes on stepping, silently and slowly.
//     XEN_DOMCTL_DEBUG_OP_SINGLE_STEP_OFF clears it, and fast single-step.
//   - altp2m views stay; switching altp2m off frees all of them.
//   - Patched memory stays. A vCPU that reported a breakpoint executes at the
//     same address again once it is answered, so the original has to be there
//     before. What stands there now is only replaced if it is the patch.
//   - A write of CR3 exits to Xen until the guest's CR0 is set up again, which
//     switching the event on and off does.
//   - Page permissions stay. With no ring, p2m_mem_access_check lifts them one
//     violation at a time, or crashes the domain if a listener was required.
//     Setting them needs a ring (mem_access_memop).
//
// So: pause, disable, memory back, steps off, altp2m off, enable a ring of its
// own, permissions back, answer for every vCPU, disable, unpause. If more vCPUs wait for a
// slot than the ring had, disabling is [ErrBusy] for good, and only destroying
// the guest helps; that needs more than eight vCPUs or asynchronous events.
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
	// EINVAL: there is no ring.
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
		// It may be gone already, or never have come.
		if hv.Depopulate(d.id, gfn) == nil {
			r.FramesRemoved++
		}
	}
	return d.withOwnRing(vcpus, left.Restricted, r)
}

// restore puts patched memory back, if it is still patched, and returns how many
// bytes that were. A frame that is gone has nothing to restore.
func (d Domain) restore(p Patched) (int, error) {
	off := p.GPA % PageSize
	if len(p.By) != len(p.Old) || off+uint64(len(p.Old)) > PageSize {
		return 0, fmt.Errorf("restore %d bytes of %d at %#x: they have to be as many, and in one frame", len(p.Old), len(p.By), p.GPA)
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

// withOwnRing does what needs a ring: setting permissions back, and freeing
// vCPUs that wait for the answer to an event of a ring that is gone.
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
	// Setting up CR3 exits anew. No event can come of it: the domain is paused.
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
		// XEN_VM_EVENT_RESUME does what a notification does and needs no
		// event channel.
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

// Health is what [Domain.Probe] found.
type Health struct {
	RingFree   bool // a ring could be had, and was given back
	Altp2m     bool // alternate views are on
	Restricted []uint64
	Stray      int  // events that came though nobody asked for any
	Stepping   bool // of these, some were single-steps
	Paused     bool // by the toolstack
	Standing   int  // patches that still stand in memory
}

// OK reports whether nothing of a monitor is left.
func (h *Health) OK() bool {
	return h.RingFree && !h.Altp2m && len(h.Restricted) == 0 && h.Stray == 0 && h.Standing == 0
}

// probeEvents bounds how many stray events Probe answers.
const probeEvents = 64

// Probe looks whether anything of a monitor is left in the guest: it takes the
// event ring for d, with single-step events on, and sees whether any event comes.
// There is none in a guest in order. It is for after [Domain.Recover]; nothing
// else may be monitoring the guest.
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
		if off := p.GPA % PageSize; off+uint64(len(p.By)) <= PageSize && len(p.By) > 0 && bytes.Equal(m.Bytes()[off:off+uint64(len(p.By))], p.By) {
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
