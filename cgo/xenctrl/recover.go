package xenctrl

import (
	"errors"
	"fmt"
	"syscall"
)

func isInvalid(err error) bool { return errors.Is(err, syscall.EINVAL) }

// Recovery is what [Domain.Recover] found and did.
type Recovery struct {
	MonitorWasOn bool // a dead monitor's ring was still enabled
	Altp2mWasOn  bool
	AccessReset  int  // page frames set back to rwx
	Answered     bool // responses were put for every vCPU and Xen took them
	StillPaused  bool // the toolstack holds the domain paused: Unpause it if that is not meant
}

// answerRounds is how many responses each vCPU gets. A vCPU waits for as many
// as it has synchronous events outstanding: one, and rarely a second from the
// same exit. Xen ignores those beyond.
const answerRounds = 4

// Recover undoes what a monitor left in the guest that died or exited without
// [Monitor.Disable]. Nothing else may be monitoring the guest. It is harmless
// on a guest in order. restricted lists page frames whose permissions are set
// back to rwx; frames without memory are skipped. Breakpoints in memory are the
// caller's to remove first.
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
//   - Page permissions stay. With no ring, p2m_mem_access_check lifts them one
//     violation at a time, or crashes the domain if a listener was required.
//     Setting them needs a ring (mem_access_memop).
//
// So: pause, disable, steps off, altp2m off, enable a ring of its own,
// permissions back, answer for every vCPU, disable, unpause. If more vCPUs wait for a
// slot than the ring had, disabling is [ErrBusy] for good, and only destroying
// the guest helps; that needs more than eight vCPUs or asynchronous events.
func (d Domain) Recover(restricted []uint64) (r Recovery, err error) {
	hv := d.x.hv
	info, err := hv.domain(d.id)
	if err != nil {
		return r, err
	}
	if err := hv.pause(d.id); err != nil {
		return r, err
	}
	err = d.recoverPaused(info.MaxVCPU+1, restricted, &r)
	err = errors.Join(err, hv.unpause(d.id))
	if err != nil {
		return r, fmt.Errorf("recover domain %d: %w", d.id, err)
	}
	if info, err = hv.domain(d.id); err != nil {
		return r, err
	}
	r.StillPaused = info.Paused
	return r, nil
}

func (d Domain) recoverPaused(vcpus int, restricted []uint64, r *Recovery) error {
	hv := d.x.hv
	// EINVAL: there is no ring.
	switch err := hv.monitorDisable(d.id); {
	case err == nil:
		r.MonitorWasOn = true
	case !isInvalid(err):
		return err
	}
	if err := stopStepping(hv, d.id, vcpus); err != nil {
		return err
	}
	// EINVAL and unsupported: the guest or the host has no altp2m.
	on, err := hv.altp2mState(d.id)
	if err != nil && !isInvalid(err) && !errors.Is(err, ErrUnsupported) {
		return err
	}
	if on {
		if err := hv.setAltp2mState(d.id, false); err != nil {
			return err
		}
		r.Altp2mWasOn = true
	}
	if err := hv.accessRequired(d.id, false); err != nil {
		return err
	}
	return d.withOwnRing(vcpus, restricted, r)
}

// withOwnRing does what needs a ring: setting permissions back, and freeing
// vCPUs that wait for the answer to an event of a ring that is gone.
func (d Domain) withOwnRing(vcpus int, restricted []uint64, r *Recovery) (err error) {
	hv := d.x.hv
	page, _, err := hv.monitorEnable(d.id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hv.monitorDisable(d.id), hv.unmap(page)) }()
	rg, err := newRing(page, vcpus-1)
	if err != nil {
		return err
	}
	for _, gfn := range restricted {
		if hv.setAccess(d.id, gfn, 1, AccessRWX) == nil {
			r.AccessReset++
		}
	}
	send := func() error {
		if !rg.publish() {
			return nil
		}
		// XEN_VM_EVENT_RESUME does what a notification does and needs no
		// event channel.
		if err := hv.monitorResume(d.id); err != nil {
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
			if rg.rspProd-rg.pub == ringSize {
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
