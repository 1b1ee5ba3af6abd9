package inject

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Machine code that is written over the first bytes of a function.
var (
	jumpToSelf = []byte{0xeb, 0xfe} // jmp .
	// cli, and a no-operation that fills up the four or five bytes of the instruction
	// that they replace.
	cli4 = []byte{0xfa, 0x0f, 0x1f, 0x00}
	cli5 = []byte{0xfa, 0x0f, 0x1f, 0x40, 0x00}

	maskedLoop = []byte{0xfa, 0xeb, 0xfd} // cli; jmp .-1
	openedLoop = []byte{0xfb, 0xeb, 0xfd} // sti; jmp .-1
	returnZero = []byte{0x31, 0xc0, 0xc3} // xor %eax, %eax; ret
	undefined  = []byte{0x0f, 0x0b}       // ud2
	skipCall   = traced                   // in place of a call
	pushRBP    = []byte{0x55, 0x53}       // push %rbp; push %rbx
)

// endbr64 is the first instruction of every function that may be called by pointer,
// in a kernel built for indirect branch tracking. If the kernel finds that a function
// is never called by pointer, it replaces endbr64 by the no-operation sealed. Both
// have four bytes. Behind their first byte both are no-operations too.
var (
	endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}
	sealed  = []byte{0x66, 0x0f, 0x1f, 0x00}
	// newSealed are the first three bytes of the same in Linux 7: its fourth is an offset,
	// d6. Behind its first byte it is no instruction.
	newSealed = []byte{0x0f, 0x1f, 0x40}
	// traced is the place of the function tracer's call: a no-operation of five bytes.
	// It comes first in a kernel without indirect branch tracking.
	traced = []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}
	// oldTraced is the same in a kernel before 5.13, which takes another no-operation of
	// five bytes on most processors of Intel (arch_init_ideal_nops). Behind its first byte
	// it is one too.
	oldTraced = []byte{0x66, 0x66, 0x66, 0x66, 0x90}
)

// firstInstructions are the first instructions of functions of an x86-64 kernel that
// have a hook or are called by pointer: endbr64, and the no-operations or the call of
// the function tracer. No vCPU is ever between the bytes written, because all of them
// belong to the one instruction.
var firstInstructions = [][]byte{
	endbr64,
	traced,
	oldTraced,
	sealed,
	newSealed,
	{0xe8},
}

// HookBytes is how many bytes Hooked looks at, at most.
const HookBytes = 9

// Hooked reports whether a function that begins with these bytes has a hook of the function
// tracer in its first instructions. Every fault of a function can be injected there.
func Hooked(head []byte) bool {
	for _, first := range [][]byte{endbr64, sealed, newSealed} {
		if bytes.HasPrefix(head, first) && len(head) > len(endbr64) {
			head = head[len(endbr64):]
			break
		}
	}
	return bytes.HasPrefix(head, traced) || bytes.HasPrefix(head, oldTraced)
}

// site is a place in a function that is patched.
type site struct {
	function string
	va, gpa  uint64
	old      []byte // the bytes that are replaced
}

// condition reports whether a vCPU may be inside code that is replaced.
type condition func(rip uint64, interrupts bool) bool

// write replaces the bytes now by code. It waits until ready is true for every vCPU
// whose RIP lies in code.
func (s *site) write(ctx context.Context, t Target, now, code []byte, ready condition) error {
	err := retry(ctx, t, func() (bool, error) {
		return paused(t, func() (bool, error) {
			for i := range t.VCPUs() {
				rip, interrupts, err := t.Where(i)
				if err != nil {
					return false, err
				}
				if rip >= s.va && rip < s.va+uint64(len(code)) && !ready(rip, interrupts) {
					return false, nil
				}
			}
			return true, put(t, s.gpa, now, code)
		}, func() error { return t.WritePhysical(s.gpa, now) })
	})
	if err != nil {
		return fmt.Errorf("patch %s: %w", s.function, err)
	}
	return nil
}

// inside reports whether a vCPU is in the first n bytes of the place.
func (s *site) inside(t Target, n int) (bool, error) {
	for i := range t.VCPUs() {
		rip, _, err := t.Where(i)
		if err != nil {
			return false, err
		}
		if rip >= s.va && rip < s.va+uint64(n) {
			return true, nil
		}
	}
	return false, nil
}

// atStart is the condition for code that is one instruction.
func (s *site) atStart(rip uint64, _ bool) bool { return rip == s.va }

// anywhere is the condition for code that a vCPU may execute while it is replaced.
func anywhere(uint64, bool) bool { return true }

// longest is the length of the longest instruction that patch looks for, in bytes.
const longest = 5

// patch writes code over the first bytes of a kernel function. The function must
// begin with one of the instructions first.
func patch(ctx context.Context, t Target, function string, code []byte, first ...[]byte) (*site, error) {
	va, err := t.Symbol(function)
	if err != nil {
		return nil, err
	}
	s := &site{function: function, va: va}
	if s.gpa, err = t.Translate(va); err != nil {
		return nil, fmt.Errorf("patch %s: %w", function, err)
	}
	head := make([]byte, longest)
	// The bytes must lie in one frame.
	if s.gpa%4096 > 4096-uint64(len(head)) {
		return nil, fmt.Errorf("patch %s: it begins at the end of a page", function)
	}
	if err := t.ReadPhysical(s.gpa, head); err != nil {
		return nil, fmt.Errorf("patch %s: %w", function, err)
	}
	if !slices.ContainsFunc(first, func(f []byte) bool { return bytes.HasPrefix(head, f) }) {
		return nil, fmt.Errorf("patch %s: it begins with %x, which is no first instruction that is known", function, head)
	}
	s.old = head[:len(code)]
	return s, s.write(ctx, t, s.old, code, s.atStart)
}

// LoopIn makes a kernel function loop at its first instruction, with interrupts on. A
// kernel without preemption never leaves the loop. After Remove the vCPUs in the loop
// continue into the function as if it had just been called.
//
// In a kernel with preemption a loop is no hang: the scheduler takes the task from its
// vCPU. There LoopIn waits until so many vCPUs are in the loop, and turns their preemption
// off, as a lock that the caller holds would. Remove turns it on again. With NoVCPU it
// leaves preemption alone.
func LoopIn(function string, vcpus Share) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		preempts, err := preemptible(t)
		if err != nil {
			return nil, err
		}
		s, err := patch(ctx, t, function, jumpToSelf, firstInstructions...)
		if err != nil {
			return nil, err
		}
		in := &Injection{
			What:    function + " loops at its first instruction",
			remove:  func(ctx context.Context) error { return s.write(ctx, t, jumpToSelf, s.old, s.atStart) },
			reached: func() (bool, error) { return s.inside(t, len(jumpToSelf)) },
		}
		if !preempts || vcpus == NoVCPU {
			return in, nil
		}
		p := pinned{site: s, counts: make([]uint64, t.VCPUs())}
		in.What += ", with preemption off"
		in.Asked = true
		restore := in.remove
		in.remove = func(ctx context.Context) error { return errors.Join(p.release(t), restore(ctx)) }
		if err := p.hold(ctx, t, vcpus.of(t.VCPUs())); err != nil {
			return nil, errors.Join(err, in.Remove(context.WithoutCancel(ctx)))
		}
		return in, nil
	}
}

// MaskedLoopIn makes a kernel function turn interrupts off and loop.
//
// Remove makes the loop turn interrupts on, and writes the old bytes back when every
// vCPU in the loop has them on. A vCPU at the second instruction then continues behind
// the first byte of the old bytes, and their rest does nothing. Only those of traced and
// newSealed are no instruction: there Remove waits until no vCPU is at the second one.
func MaskedLoopIn(function string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		s, err := patch(ctx, t, function, maskedLoop, endbr64, sealed, newSealed, oldTraced, traced)
		if err != nil {
			return nil, err
		}
		return &Injection{
			What:    function + " loops with interrupts off",
			reached: func() (bool, error) { return s.inside(t, len(maskedLoop)) },
			remove: func(ctx context.Context) error {
				if err := s.write(ctx, t, maskedLoop, openedLoop, anywhere); err != nil {
					return err
				}
				return s.write(ctx, t, openedLoop, s.old, func(rip uint64, interrupts bool) bool {
					return interrupts && (rip == s.va || s.old[0] != traced[0])
				})
			},
		}, nil
	}
}

// LoseTimer makes a function that sets a timer return success and set nothing. A vCPU
// that halts is then never woken by its own timer. The fault cannot be removed: with
// the old bytes in place the kernel still believes that its timer is set, and sets it
// only for an earlier instant.
func LoseTimer(function string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		// The function is not traced and runs with interrupts off. So the registers of the
		// vCPUs show whether anybody is inside it.
		first := append([][]byte{pushRBP}, firstInstructions...)
		if _, err := patch(ctx, t, function, returnZero, first...); err != nil {
			return nil, err
		}
		return &Injection{What: function + " does nothing"}, nil
	}
}

// Instructions that set a function's first argument to 0, of the length of the first
// instruction that they replace.
var (
	zero4 = []byte{0x48, 0x83, 0xe7, 0x00}       // and $0, %rdi
	zero5 = []byte{0xbf, 0x00, 0x00, 0x00, 0x00} // mov $0, %edi
)

// StormTimer makes a function that sets a timer set it for at once, whatever time it is
// given as its first argument. The timer then fires as soon as it is set, without end.
// After Remove the timer is set as before, from the next time on.
func StormTimer(function string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		s, code, err := replaceFirst(ctx, t, function, zero4, zero5)
		if err != nil {
			return nil, err
		}
		return &Injection{
			What:   function + " sets its timer for at once",
			remove: func(ctx context.Context) error { return s.write(ctx, t, code, s.old, s.atStart) },
		}, nil
	}
}

// replaceFirst replaces the first instruction of a function, which has four or five bytes,
// by another of the same length. It returns the one that was written.
func replaceFirst(ctx context.Context, t Target, function string, four, five []byte) (*site, []byte, error) {
	s, err := patch(ctx, t, function, five, traced, oldTraced)
	if err == nil || ctx.Err() != nil {
		return s, five, err
	}
	s, err = patch(ctx, t, function, four, endbr64, sealed, newSealed)
	return s, four, err
}

// CrashIn makes a kernel function execute an undefined instruction, at which the
// kernel panics. The fault cannot be removed.
func CrashIn(function string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		reset, err := setInt(t, "panic_on_oops", 1)
		if err != nil {
			return nil, err
		}
		if _, err := patch(ctx, t, function, undefined, firstInstructions...); err != nil {
			return nil, errors.Join(err, reset())
		}
		return &Injection{What: function + " executes an undefined instruction"}, nil
	}
}

// setInt writes an int variable of the kernel. The function that it returns writes the
// old value back.
func setInt(t Target, variable string, value int32) (reset func() error, err error) {
	va, err := t.Symbol(variable)
	if err != nil {
		return nil, err
	}
	gpa, err := t.Translate(va)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", variable, err)
	}
	old := make([]byte, 4)
	if err := t.ReadPhysical(gpa, old); err != nil {
		return nil, fmt.Errorf("read %s: %w", variable, err)
	}
	set := func(b []byte) error {
		if err := t.WritePhysical(gpa, b); err != nil {
			return fmt.Errorf("set %s: %w", variable, err)
		}
		return nil
	}
	return func() error { return set(old) }, set(binary.LittleEndian.AppendUint32(nil, uint32(value)))
}

// PanicLoop is CrashIn in a kernel that cannot tell the hypervisor: the function
// notify, which would tell it, does nothing. The kernel then loops at the end of its
// panic, for ever unless it is set to reboot.
func PanicLoop(function, notify string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		s, err := patch(ctx, t, notify, returnZero, firstInstructions...)
		if err != nil {
			return nil, err
		}
		in, err := CrashIn(function)(ctx, t)
		if err != nil {
			return nil, errors.Join(err, s.write(context.WithoutCancel(ctx), t, returnZero, s.old, s.atStart))
		}
		in.What += ", and " + notify + " does nothing"
		return in, nil
	}
}

// PanicReboot is PanicLoop in a kernel that is set to reboot at once when it panics
// (panic=-1). The end of the panic is then a guest that asks for a reboot.
func PanicReboot(function, notify string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		reset, err := setInt(t, "panic_timeout", -1)
		if err != nil {
			return nil, err
		}
		in, err := PanicLoop(function, notify)(ctx, t)
		if err != nil {
			return nil, errors.Join(err, reset())
		}
		in.What += ", and the panic ends in a reboot"
		return in, nil
	}
}

// LoseInterrupts makes a kernel function turn interrupts off and leave them off, as a
// lost local_irq_restore does. The kernel turns them on again when it returns to a
// program or switches to another task. Until then the vCPU takes no interrupt.
//
// Remove makes the function turn interrupts on, waits until every vCPU has them on, and
// writes the old bytes back.
func LoseInterrupts(function string) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		s, code, err := replaceFirst(ctx, t, function, cli4, cli5)
		if err != nil {
			return nil, err
		}
		return &Injection{
			What:   function + " leaves interrupts off",
			remove: func(ctx context.Context) error { return s.restoreInterrupts(ctx, t, code) },
		}, nil
	}
}

// restoreInterrupts removes what LoseInterrupts did with code.
func (s *site) restoreInterrupts(ctx context.Context, t Target, code []byte) error {
	sti := bytes.Clone(code)
	sti[0] = 0xfb
	if err := s.write(ctx, t, code, sti, anywhere); err != nil {
		return err
	}
	for i := range t.VCPUs() {
		err := retry(ctx, t, func() (bool, error) {
			return paused(t, func() (bool, error) {
				_, on, err := t.Where(i)
				return on, err
			}, func() error { return nil })
		})
		if err != nil {
			return fmt.Errorf("turn the interrupts of vCPU %d on: %w", i, err)
		}
	}
	return s.write(ctx, t, sti, s.old, s.atStart)
}
