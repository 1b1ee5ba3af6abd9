package xenctrl

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// Classes of trace records for [TraceConfig.Events]. Xen compares the main class (bits
// 16 up) and the subclass (bits 12 to 15) with the mask separately. So the union of two
// of these also selects the main class of one with the subclass of the other.
const (
	TraceEntryExit uint32 = 0x00081000 // VM entries and exits: two records for each exit
	TraceHandlers  uint32 = 0x00082000 // the causes of exits, among them EPT violations
	TraceRunstate  uint32 = 0x00021000 // vCPUs getting and losing a physical CPU
	TracePVEntry   uint32 = 0x00201000 // PV guests, dom0 among them, entering Xen: hypercalls, faults
)

// Records that this package decodes (Xen's public trace.h).
const (
	traceLost       = 0x0001f001 // TRC_LOST_RECORDS
	traceWrap       = 0x0001f002 // TRC_TRACE_WRAP_BUFFER
	traceRunstate   = 0x00021001 // TRC_SCHED_RUNSTATE_CHANGE, states or'ed into bits 4, 5, 8 and 9
	traceHypercall  = 0x0020100d // TRC_PV_HYPERCALL_V2
	traceVMEntry    = 0x00081001 // TRC_HVM_VMENTRY
	traceVMExit     = 0x00081002 // TRC_HVM_VMX_EXIT
	traceVMExit64   = 0x00081102 // TRC_HVM_VMX_EXIT64
	traceNPF        = 0x00082021 // TRC_HVM_NPF
	runstateChanges = 0x00000330
)

// maxExtra is TRACE_EXTRA_MAX.
const maxExtra = 7

// Record is one trace record.
type Record struct {
	CPU    int    // physical CPU
	Event  uint32 // 28 bits, TRC_*
	HasTSC bool
	TSC    uint64 // the host's time-stamp counter, if HasTSC
	N      int    // words of Extra that are set
	Extra  [maxExtra]uint32
}

// decodeRecord decodes the record at the start of b and returns its length in bytes. b
// may be shared with Xen: each word is read once.
func decodeRecord(b []byte, rec *Record) (int, error) {
	if len(b) < 4 {
		return 0, fmt.Errorf("trace record of %d bytes: %w", len(b), ErrCorrupt)
	}
	head := binary.LittleEndian.Uint32(b)
	words := int(head >> 28 & 7)
	size := 4 + 4*words
	hasTSC := head>>31 != 0
	if hasTSC {
		size += 8
	}
	if size > len(b) {
		return 0, fmt.Errorf("trace record %#x of %d bytes with %d bytes left: %w", head, size, len(b), ErrCorrupt)
	}
	rec.Event, rec.HasTSC, rec.TSC, rec.N = head&0x0fffffff, hasTSC, 0, words
	p := b[4:size]
	if hasTSC {
		rec.TSC = le64(p)
		p = p[8:]
	}
	for i := range rec.Extra {
		rec.Extra[i] = 0
		if i < words {
			rec.Extra[i] = binary.LittleEndian.Uint32(p[4*i:])
		}
	}
	return size, nil
}

func (r *Record) word64(i int) uint64 {
	return uint64(r.Extra[i]) | uint64(r.Extra[i+1])<<32
}

// Lost decodes a record that counts records which did not fit in the buffer
// (TRC_LOST_RECORDS). It has the number and the time of the first.
func (r *Record) Lost() (n uint32, firstTSC uint64, ok bool) {
	if r.Event != traceLost || r.N < 4 {
		return 0, 0, false
	}
	return r.Extra[0], r.word64(2), true
}

// VMExit decodes a VM exit: the basic exit reason of Intel's manual, and the guest's
// instruction pointer.
func (r *Record) VMExit() (reason ExitReason, rip uint64, ok bool) {
	switch {
	case r.Event == traceVMExit64 && r.N >= 3:
		return ExitReason(r.Extra[0]), r.word64(1), true
	case r.Event == traceVMExit && r.N >= 2:
		return ExitReason(r.Extra[0]), uint64(r.Extra[1]), true
	}
	return 0, 0, false
}

// IsVMEntry reports whether the record is the entry after a VM exit.
func (r *Record) IsVMEntry() bool { return r.Event == traceVMEntry }

// ExitReason is a VMX basic exit reason (Intel SDM volume 3, appendix C). Bit 31 says
// that the entry failed.
type ExitReason uint32

// Exit reasons that matter to a monitor.
const (
	ExitException         ExitReason = 0
	ExitExternalInterrupt ExitReason = 1
	ExitHLT               ExitReason = 12
	ExitVMCall            ExitReason = 18
	ExitCRAccess          ExitReason = 28
	ExitMonitorTrapFlag   ExitReason = 37
	ExitEPTViolation      ExitReason = 48
	ExitEPTMisconfig      ExitReason = 49
)

// Hypercall is the number of a PV guest's hypercall (__HYPERVISOR_*).
type Hypercall uint32

// Hypercalls that matter to the price of an event.
const (
	HypercallMMUUpdate    Hypercall = 1
	HypercallStackSwitch  Hypercall = 3
	HypercallFPUSwitch    Hypercall = 5
	HypercallDescriptor   Hypercall = 10
	HypercallMemoryOp     Hypercall = 12
	HypercallMulticall    Hypercall = 13
	HypercallVAMapping    Hypercall = 14
	HypercallSetTimer     Hypercall = 15
	HypercallXenVersion   Hypercall = 17
	HypercallIret         Hypercall = 23
	HypercallVCPUOp       Hypercall = 24
	HypercallSegmentBase  Hypercall = 25
	HypercallMMUExt       Hypercall = 26
	HypercallSchedOp      Hypercall = 29
	HypercallEventChannel Hypercall = 32
	HypercallPhysdev      Hypercall = 33
	HypercallHVMOp        Hypercall = 34
	HypercallSysctl       Hypercall = 35
	HypercallDomctl       Hypercall = 36
)

func (h Hypercall) String() string {
	names := [...]string{
		HypercallMMUUpdate: "mmu_update", HypercallStackSwitch: "stack_switch", HypercallFPUSwitch: "fpu_taskswitch",
		HypercallDescriptor: "update_descriptor", HypercallMemoryOp: "memory_op", HypercallMulticall: "multicall",
		HypercallVAMapping: "update_va_mapping", HypercallSetTimer: "set_timer_op", HypercallXenVersion: "xen_version",
		HypercallIret: "iret", HypercallVCPUOp: "vcpu_op", HypercallSegmentBase: "set_segment_base",
		HypercallMMUExt: "mmuext_op", HypercallSchedOp: "sched_op", HypercallEventChannel: "event_channel_op",
		HypercallPhysdev: "physdev_op", HypercallHVMOp: "hvm_op", HypercallSysctl: "sysctl", HypercallDomctl: "domctl",
	}
	if int(h) < len(names) && names[h] != "" {
		return names[h]
	}
	return fmt.Sprintf("hypercall %d", uint32(h))
}

// Hypercall decodes a PV guest's hypercall. Xen makes the record before the hypercall,
// and none after it. arg is the argument that Xen records: the sub-command of sched_op
// and vcpu_op, the number of operations of mmu_update, mmuext_op and multicall, and 0
// for others.
func (r *Record) Hypercall() (h Hypercall, arg uint32, ok bool) {
	if r.Event != traceHypercall || r.N < 1 {
		return 0, 0, false
	}
	if r.N >= 2 {
		arg = r.Extra[1]
	}
	return Hypercall(r.Extra[0] & 0xfffff), arg, true
}

// Runstate is the scheduler's state of a vCPU (RUNSTATE_*).
type Runstate uint8

// Runstates.
const (
	RunstateRunning  Runstate = 0
	RunstateRunnable Runstate = 1
	RunstateBlocked  Runstate = 2
	RunstateOffline  Runstate = 3
)

// Runstate decodes a change of a vCPU's runstate. A paused vCPU is offline.
func (r *Record) Runstate() (d DomID, vcpu int, from, to Runstate, ok bool) {
	if r.Event&^runstateChanges != traceRunstate || r.N < 1 {
		return 0, 0, 0, 0, false
	}
	return DomID(r.Extra[0] >> 16), int(r.Extra[0] & 0xffff),
		Runstate(r.Event >> 8 & 3), Runstate(r.Event >> 4 & 3), true
}

// Owners finds the vCPU of a record from the changes of runstate: records of VM exits do
// not have one. Pass every record to Observe, in the order of [Trace.Drain]. The trace
// must have [TraceRunstate].
type Owners struct {
	cpus []owner
}

type owner struct {
	known bool
	d     DomID
	vcpu  int
}

// Observe updates the owners from a record.
func (o *Owners) Observe(r *Record) {
	for r.CPU >= len(o.cpus) {
		o.cpus = append(o.cpus, owner{})
	}
	if _, _, lost := r.Lost(); lost {
		o.cpus[r.CPU] = owner{}
		return
	}
	d, vcpu, from, to, ok := r.Runstate()
	switch {
	case ok && to == RunstateRunning:
		o.cpus[r.CPU] = owner{true, d, vcpu}
	case ok && from == RunstateRunning:
		o.cpus[r.CPU] = owner{}
	}
}

// Owner returns the vCPU that ran on a physical CPU at the last observed record. ok is
// false before the first change of runstate on that CPU, and after lost records.
func (o *Owners) Owner(cpu int) (d DomID, vcpu int, ok bool) {
	if cpu < 0 || cpu >= len(o.cpus) {
		return 0, 0, false
	}
	w := o.cpus[cpu]
	return w.d, w.vcpu, w.known
}

// Layout of a trace buffer: struct t_buf, then records.
const (
	tbufCons = 0
	tbufProd = 4
	tbufData = 8
)

// traceRing is one physical CPU's trace buffer. Xen produces the records. Both
// positions count modulo twice the buffer's size, so that full and empty differ.
type traceRing struct {
	cpu int
	buf []byte
}

func (t *traceRing) counter(off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&t.buf[off]))
}

func (t *traceRing) size() uint32 { return uint32(len(t.buf) - tbufData) }

// window returns the consumer's position and the number of bytes from there on.
func (t *traceRing) window() (cons, n uint32, err error) {
	cons, prod, size := t.counter(tbufCons).Load(), t.counter(tbufProd).Load(), t.size()
	if cons >= 2*size || prod >= 2*size || cons%4 != 0 || prod%4 != 0 {
		return 0, 0, fmt.Errorf("trace buffer of CPU %d: positions %d and %d in %d bytes: %w", t.cpu, cons, prod, size,
			ErrCorrupt)
	}
	n = prod - cons
	if prod < cons {
		n += 2 * size
	}
	if n > size {
		return 0, 0, fmt.Errorf("trace buffer of CPU %d: %d bytes in %d: %w", t.cpu, n, size, ErrCorrupt)
	}
	return cons, n, nil
}

// discard drops the records in the buffer.
func (t *traceRing) discard() { t.counter(tbufCons).Store(t.counter(tbufProd).Load()) }

// TraceStats counts the contents of the trace buffers.
type TraceStats struct {
	Records uint64
	Bytes   uint64
	Lost    uint64  // records that Xen could not store
	Gaps    uint64  // times that Xen lost records
	Corrupt uint64  // times that a buffer was corrupt and was emptied
	Peak    float64 // largest fill of a buffer at Drain, 0 to 1
}

// drain calls f for every record in the buffer and frees their space.
func (t *traceRing) drain(rec *Record, st *TraceStats, f func(*Record)) error {
	cons, left, err := t.window()
	if err != nil {
		st.Corrupt++
		return err
	}
	size := t.size()
	st.Peak = max(st.Peak, float64(left)/float64(size))
	st.Bytes += uint64(left)
	rec.CPU = t.cpu
	for left > 0 {
		off := cons % size
		n, err := decodeRecord(t.buf[tbufData+off:tbufData+off+min(left, size-off)], rec)
		if err != nil {
			st.Corrupt++
			t.discard()
			return fmt.Errorf("CPU %d at %d: %w", t.cpu, off, err)
		}
		left -= uint32(n)
		if cons += uint32(n); cons >= 2*size {
			cons -= 2 * size
		}
		if rec.Event == traceWrap {
			continue // padding up to the end of the buffer
		}
		if n, _, ok := rec.Lost(); ok {
			st.Lost += uint64(n)
			st.Gaps++
		}
		st.Records++
		f(rec)
	}
	t.counter(tbufCons).Store(cons)
	return nil
}
