package xentest

import (
	"encoding/binary"
	"fmt"

	"hangbench/cgo/xenctrl"
	"hangbench/cgo/xenctrl/internal/vmevent"
)

// Op is the effect of an [Instruction].
type Op int

const (
	Nop     Op = iota // nothing
	Read              // reads the word at Target
	Write             // writes Value to the word at Target
	Add               // adds Value to the word at Target
	LoadCR3           // loads Value into CR3
	Halt              // waits for VCPU.Interrupt
)

// Instruction is one instruction of a guest's program, one byte long.
type Instruction struct {
	RIP    uint64 // virtual address
	GPA    uint64 // guest-physical address of RIP
	Op     Op
	Target uint64 // guest-physical address of eight bytes in one page
	Value  uint64
	// NoEmulation: Xen's emulator does not know the instruction.
	NoEmulation bool
	// Do, if set, is called each time the instruction has been executed. It may change
	// the registers, except for RIP, and write to memory that Guest.Page returned. It
	// must not call the package.
	Do func(*xenctrl.Registers)
}

// VCPU is a vCPU of a guest. Its methods may be called from any goroutine.
type VCPU struct {
	g       *Guest
	id      int
	pcpu    int
	program []Instruction
	loop    bool
	pc      int
	regs    xenctrl.Registers
	online  bool
	blocked bool
	stats   VCPUStats

	pauses   int            // vm_event_pause_count
	queued   *vmevent.Event // waits for a slot of the ring, and the vCPU with it
	stepping bool
	fast     bool // one step, then fastView
	fastView xenctrl.View
	view     xenctrl.View
	emulate  bool    // the next instruction, whatever the permissions
	cr3      *uint64 // a write that was reported and not made
}

// VCPUStats counts since the guest was created.
type VCPUStats struct {
	Executed    uint64 // instructions
	Breakpoints uint64 // INT3 that reached the guest's own handler
	Undefined   uint64 // invalid opcodes that reached it
	Answers     uint64 // responses that named the vCPU, whether it waited or not
}

// SetProgram sets the program and begins it. If loop is set it begins again after
// its last instruction, otherwise the vCPU halts there.
func (v *VCPU) SetProgram(loop bool, program ...Instruction) {
	defer v.g.h.lock()()
	v.program, v.loop, v.pc, v.blocked = program, loop, 0, len(program) == 0
	v.g.poke()
}

// SetRegisters sets the registers. While the vCPU has a program RIP is its
// instruction's.
func (v *VCPU) SetRegisters(r xenctrl.Registers) {
	defer v.g.h.lock()()
	v.regs = r
}

// SetOnline takes the vCPU down or brings it up.
func (v *VCPU) SetOnline(on bool) {
	defer v.g.h.lock()()
	v.online = on
}

// Interrupt ends Halt.
func (v *VCPU) Interrupt() {
	defer v.g.h.lock()()
	if v.blocked && v.pc < len(v.program) {
		v.blocked = false
		v.advance()
	}
}

// Stats returns the vCPU's counters.
func (v *VCPU) Stats() VCPUStats {
	defer v.g.h.lock()()
	return v.stats
}

// Waiting returns how many answers the vCPU waits for.
func (v *VCPU) Waiting() int {
	defer v.g.h.lock()()
	return v.pauses
}

// Stepping reports whether the vCPU single-steps.
func (v *VCPU) Stepping() bool {
	defer v.g.h.lock()()
	return v.stepping || v.fast
}

// View returns the altp2m view that the vCPU is in.
func (v *VCPU) View() xenctrl.View {
	defer v.g.h.lock()()
	return v.view
}

// Event has the vCPU report an event as if something had happened in the guest,
// and wait for the answer. The vCPU's number, view and registers are filled in. It
// returns whether the ring had a free slot; if not the vCPU waits for one. It
// panics without an event ring.
func (v *VCPU) Event(ev xenctrl.Event) bool {
	defer v.g.h.lock()()
	v.post(request(&ev), true)
	return v.queued == nil
}

// request encodes an event. It is the inverse of the decoder in xenctrl.
func request(ev *xenctrl.Event) vmevent.Event {
	e := vmevent.Event{Reason: uint32(ev.Reason)}
	switch ev.Reason {
	case xenctrl.ReasonMemAccess:
		e.U = [4]uint64{ev.GFN, ev.Offset, ev.GLA, uint64(ev.Access)}
	case xenctrl.ReasonWriteCtrlReg:
		e.U = [4]uint64{uint64(ev.CtrlReg), ev.NewValue, ev.OldValue}
	case xenctrl.ReasonMovToMSR:
		e.U = [4]uint64{ev.MSR, ev.NewValue, ev.OldValue}
	case xenctrl.ReasonSoftwareBreakpoint, xenctrl.ReasonDebugException:
		e.U = [4]uint64{ev.GFN, ev.PendingDbg, uint64(ev.InsnLen) | uint64(ev.TrapType)<<32}
	case xenctrl.ReasonCPUID:
		e.U[0] = uint64(ev.InsnLen)
	default:
		e.U[0] = ev.GFN
	}
	return e
}

// post puts a request in the ring (monitor_traps). Without a free slot the vCPU
// waits for one.
func (v *VCPU) post(e vmevent.Event, sync bool) {
	g := v.g
	e.VCPU = uint32(v.id)
	if sync {
		e.Flags |= uint32(xenctrl.FlagVCPUPaused)
	}
	if g.altp2m {
		e.Flags |= uint32(xenctrl.FlagAlternateP2M)
		e.Altp2m = uint16(v.view)
	}
	r := v.registers()
	e.Regs = vmevent.Regs{RAX: r.RAX, RCX: r.RCX, RDX: r.RDX, RBX: r.RBX, RSP: r.RSP, RBP: r.RBP, RSI: r.RSI, RDI: r.RDI,
		R8: r.R8, R9: r.R9, R10: r.R10, R11: r.R11, R12: r.R12, R13: r.R13, R14: r.R14, R15: r.R15,
		RFLAGS: r.RFLAGS, DR6: r.DR6, DR7: r.DR7, RIP: r.RIP, CR0: r.CR0, CR2: r.CR2, CR3: r.CR3, CR4: r.CR4,
		SysenterCS: r.SysenterCS, SysenterESP: r.SysenterESP, SysenterEIP: r.SysenterEIP,
		EFER: r.EFER, STAR: r.STAR, LSTAR: r.LSTAR,
		GDTRBase: r.GDTBase, GDTRLimit: r.GDTLimit, FSBase: r.FSBase, GSBase: r.GSBase, ShadowGS: r.KernelGSBase,
		CS: uint32(r.CSAttr) << 20, SS: uint32(r.SSAttr) << 20,
		CSSel: r.CSSel, SSSel: r.SSSel, DSSel: r.DSSel, ESSel: r.ESSel, FSSel: r.FSSel, GSSel: r.GSSel}
	v.put(&e)
}

// put puts a request in the ring, or queues it.
func (v *VCPU) put(e *vmevent.Event) {
	if !v.g.ring.Put(*e) {
		v.queued = e
		return
	}
	v.queued = nil
	if xenctrl.Flags(e.Flags)&xenctrl.FlagVCPUPaused != 0 {
		v.pauses++
	}
	v.g.poke()
}

func (v *VCPU) registers() xenctrl.Registers {
	r := v.regs
	if v.pc < len(v.program) {
		r.RIP = v.program[v.pc].RIP
	}
	return r
}

// runs reports whether the vCPU can execute.
func (v *VCPU) runs() bool {
	g := v.g
	return v.online && !v.blocked && v.pauses == 0 && v.queued == nil && g.paused == 0 && !g.dying && !g.shutdown &&
		v.pc < len(v.program)
}

func (v *VCPU) advance() {
	if v.pc++; v.pc == len(v.program) {
		if v.loop {
			v.pc = 0
		} else {
			v.blocked = true
		}
	}
}

// execute executes one instruction or reports an event of it. It returns whether
// the vCPU may get further.
func (v *VCPU) execute() bool {
	if !v.runs() {
		return false
	}
	g := v.g
	g.h.tsc++
	in := &v.program[v.pc]
	emulate := v.emulate
	switch {
	case emulate && in.NoEmulation:
		v.emulate = false
		if g.ring != nil && g.sources[xenctrl.SourceEmulUnimplemented] {
			v.post(vmevent.Event{Reason: uint32(xenctrl.ReasonEmulUnimplemented)}, true)
			return false
		}
		v.stats.Undefined++
		v.advance()
		return true
	case !emulate:
		page, ok := v.touch(in.GPA, in.RIP, xenctrl.TouchedX)
		if !ok {
			return false
		}
		if page[in.GPA%pageSize] == 0xcc {
			if g.ring != nil && g.sources[xenctrl.SourceBreakpoint] {
				v.post(vmevent.Event{Reason: uint32(xenctrl.ReasonSoftwareBreakpoint),
					U: [4]uint64{in.GPA / pageSize, 0, 6<<32 | 1}}, true)
				return false
			}
			v.stats.Breakpoints++
			v.advance()
			return true
		}
	}
	switch in.Op {
	case Read, Write, Add:
		how := xenctrl.TouchedR
		if in.Op != Read {
			how |= xenctrl.TouchedW
		}
		var page []byte
		if emulate {
			page = v.shown(in.Target / pageSize)
		} else {
			var ok bool
			if page, ok = v.touch(in.Target, 0, how); !ok {
				return false
			}
		}
		if word := page[in.Target%pageSize:]; in.Op == Write {
			binary.LittleEndian.PutUint64(word, in.Value)
		} else if in.Op == Add {
			binary.LittleEndian.PutUint64(word, binary.LittleEndian.Uint64(word)+in.Value)
		}
	case LoadCR3:
		c, on := g.ctrlRegs[xenctrl.CR3]
		if changed := in.Value ^ v.regs.CR3; v.cr3 == nil && on && g.ring != nil && (!c.onChange || changed&^c.ignore != 0) {
			// Xen writes the register once the event is answered.
			e := vmevent.Event{Reason: uint32(xenctrl.ReasonWriteCtrlReg),
				U: [4]uint64{uint64(xenctrl.CR3), in.Value, v.regs.CR3}}
			v.post(e, c.sync)
			if v.cr3 = &in.Value; !v.runs() {
				return false
			}
		}
		v.regs.CR3, v.cr3 = in.Value, nil
	case Halt:
		v.blocked = true
	}
	v.emulate = false
	v.stats.Executed++
	if in.Do != nil {
		in.Do(&v.regs)
	}
	if in.Op == Halt {
		return false
	}
	v.advance()
	return v.stepped()
}

// stepped ends a single step, plain or fast (hvm_monitor_debug).
func (v *VCPU) stepped() bool {
	g := v.g
	reported := g.ring != nil && g.sources[xenctrl.SourceSingleStep]
	switch {
	case v.fast:
		if reported || !g.h.xen.Facts().FastStepNeedsEvents {
			v.fast, v.stepping, v.view = false, false, v.fastView
		}
	case v.stepping && reported:
		gfn := uint64(0)
		if v.pc < len(v.program) {
			gfn = v.program[v.pc].GPA / pageSize
		}
		v.post(vmevent.Event{Reason: uint32(xenctrl.ReasonSingleStep), U: [4]uint64{gfn}}, true)
		return false
	}
	return true
}

// allows reports whether a permission allows an access.
func allows(a xenctrl.Access, how xenctrl.AccessFlags) bool {
	switch a {
	case xenctrl.AccessRX2RW:
		a = xenctrl.AccessRX
	case xenctrl.AccessN2RWX:
		a = xenctrl.AccessN
	case xenctrl.AccessRPW:
		a = xenctrl.AccessR
	case xenctrl.AccessDefault:
		a = xenctrl.AccessRWX
	}
	// AccessR, W and X are bits, and TouchedR, W and X are the same ones.
	return xenctrl.AccessFlags(a)&how == how
}

// eff returns the bits of an exit's qualification for an EPT entry with permission a.
func eff(a xenctrl.Access) xenctrl.NPFQual {
	var q xenctrl.NPFQual
	for bit, e := range map[xenctrl.AccessFlags]xenctrl.NPFQual{
		xenctrl.TouchedR: xenctrl.NPFEffRead, xenctrl.TouchedW: xenctrl.NPFEffWrite, xenctrl.TouchedX: xenctrl.NPFEffExec} {
		if allows(a, bit) {
			q |= e
		}
	}
	return q
}

// shown returns the memory that the vCPU's view shows at a frame. It panics if
// there is none: a program must not use it.
func (v *VCPU) shown(gfn uint64) []byte {
	g := v.g
	if g.altp2m {
		if to, ok := g.views[v.view].remap[gfn]; ok {
			gfn = to
		}
	}
	mfn, ok := g.p2m[gfn]
	if !ok {
		panic(fmt.Sprintf("xentest: guest %d uses frame %#x, where it has no memory", g.id, gfn))
	}
	return g.h.mem.frame(mfn)
}

// touch is an access to memory. It returns the page, or false if the access was a
// violation that ends the instruction (hvm_hap_nested_page_fault).
func (v *VCPU) touch(gpa, gla uint64, how xenctrl.AccessFlags) (page []byte, ok bool) {
	g, gfn := v.g, gpa/pageSize
	page = v.shown(gfn)
	qual := xenctrl.NPFQual(how&^xenctrl.TouchedR) | xenctrl.NPFGLAValid | xenctrl.NPFGLAFault
	if how == xenctrl.TouchedR {
		qual |= xenctrl.NPFRead
	}
	access := g.hostAccess(gfn)
	if g.altp2m {
		w := g.views[v.view]
		a, held := w.access[gfn]
		if !held {
			// p2m_altp2m_get_or_propagate
			g.h.violation(v, gpa, g.p2m[gfn], qual)
			if a = w.def; g.h.xen.Facts().CopiesHostAccess {
				a = access
			}
			w.access[gfn] = a
		}
		access = a
	}
	// A write is a read too to the event, but not to the hardware.
	need := how
	if how&xenctrl.TouchedW != 0 {
		need = xenctrl.TouchedW
	}
	if allows(access, need) {
		return page, true
	}
	g.h.violation(v, gpa, g.p2m[gfn], qual|eff(access))
	if g.ring != nil {
		flags := how | xenctrl.FaultWithGLA
		if gla != 0 {
			flags |= xenctrl.GLAValid
		}
		v.post(vmevent.Event{Reason: uint32(xenctrl.ReasonMemAccess),
			U: [4]uint64{gfn, gpa % pageSize, gla, uint64(flags)}}, true)
		return nil, false
	}
	// p2m_mem_access_check without a listener
	if g.required {
		g.shutdown, g.reason = true, xenctrl.ShutdownCrash
		return nil, false
	}
	g.setAccess(gfn, xenctrl.AccessRWX)
	return page, true
}

func (g *Guest) hostAccess(gfn uint64) xenctrl.Access {
	if a, ok := g.access[gfn]; ok {
		return a
	}
	return xenctrl.AccessRWX
}

// setAccess sets a permission in the host view, and in the views that have a copy of the
// frame's entry.
func (g *Guest) setAccess(gfn uint64, a xenctrl.Access) {
	if a == xenctrl.AccessRWX || a == xenctrl.AccessDefault {
		delete(g.access, gfn)
	} else {
		g.access[gfn] = a
	}
	for _, w := range g.views {
		if _, held := w.access[gfn]; held {
			w.access[gfn] = a
		}
	}
}

// resume has Xen take the responses of the ring (vm_event_resume).
func (g *Guest) resume() {
	var e vmevent.Event
	for g.ring != nil && g.ring.Get(&e) {
		if e.Version != vmevent.Version || int(e.VCPU) >= len(g.vcpus) {
			continue
		}
		v, flags := g.vcpus[e.VCPU], xenctrl.Flags(e.Flags)
		v.stats.Answers++
		if v.pauses == 0 {
			continue
		}
		v.answer(&e, flags)
	}
	g.takeSlots()
}

// takeSlots has vCPUs that wait for a slot of the ring take one. They must run to
// do so.
func (g *Guest) takeSlots() {
	for _, v := range g.vcpus {
		if v.queued != nil && g.paused == 0 {
			v.put(v.queued)
		}
	}
}

func (v *VCPU) answer(e *vmevent.Event, flags xenctrl.Flags) {
	g, has := v.g, func(f xenctrl.Flags) bool { return flags&f != 0 }
	if has(xenctrl.FlagToggleSingleStep) {
		v.stepping = !v.stepping
	} else if has(xenctrl.FlagFastSingleStep) {
		v.stepping, v.fast, v.fastView = true, true, xenctrl.View(e.U[0])
	}
	if has(xenctrl.FlagAlternateP2M) && g.altp2m {
		if g.views[xenctrl.View(e.Altp2m)] != nil {
			v.view = xenctrl.View(e.Altp2m)
		}
	}
	if has(xenctrl.FlagEmulate) {
		v.emulate = true
	}
	if has(xenctrl.FlagDeny) && v.cr3 != nil {
		v.cr3 = nil
		v.advance()
	}
	if has(xenctrl.FlagSetRegisters) {
		s, d := &e.Regs, &v.regs
		d.RAX, d.RCX, d.RDX, d.RBX, d.RSP, d.RBP, d.RSI, d.RDI = s.RAX, s.RCX, s.RDX, s.RBX, s.RSP, s.RBP, s.RSI, s.RDI
		d.R8, d.R9, d.R10, d.R11, d.R12, d.R13, d.R14, d.R15 = s.R8, s.R9, s.R10, s.R11, s.R12, s.R13, s.R14, s.R15
		d.RIP, d.RFLAGS = s.RIP, s.RFLAGS
	}
	if has(xenctrl.FlagVCPUPaused) {
		v.pauses--
		g.h.note(fmt.Sprintf("answer %d", v.id))
	}
}
