package inject

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Machine code that is written over a function's first bytes.
var (
	jumpToSelf = []byte{0xeb, 0xfe} // jmp .
	// The same length as an instruction of four or five bytes that they replace:
	// cli or sti, and a no-operation.
	cli4 = []byte{0xfa, 0x0f, 0x1f, 0x00}
	cli5 = []byte{0xfa, 0x0f, 0x1f, 0x40, 0x00}

	maskedLoop = []byte{0xfa, 0xeb, 0xfd} // cli; jmp .-1
	openedLoop = []byte{0xfb, 0xeb, 0xfd} // sti; jmp .-1
	returnZero = []byte{0x31, 0xc0, 0xc3} // xor %eax, %eax; ret
	undefined  = []byte{0x0f, 0x0b}       // ud2
	skipCall   = traced                   // in place of a call
	pushRBP    = []byte{0x55, 0x53}       // push %rbp; push %rbx
)

// endbr64 is the first instruction of every function that may be called by
// pointer, in a kernel built for indirect branch tracking; where the kernel has
// found that a function never is, it puts a no-operation in its place. Both have
// four bytes, and without the first one are no-operations too.
var (
	endbr64 = []byte{0xf3, 0x0f, 0x1e, 0xfa}
	sealed  = []byte{0x66, 0x0f, 0x1f, 0x00}
	// traced is where the function tracer may hook in: a no-operation of five
	// bytes. It comes first in a kernel without indirect branch tracking.
	traced = []byte{0x0f, 0x1f, 0x44, 0x00, 0x00}
)

// firstInstructions are what functions of an x86-64 kernel begin with that have
// a hook or are called by pointer: endbr64, and the no-operations or the call of
// the function tracer. A vCPU is never between the bytes written: they lie in
// the one instruction.
var firstInstructions = [][]byte{
	endbr64,
	traced,
	sealed,
	{0x0f, 0x1f, 0x40},
	{0xe8},
}

// site is a patched function.
type site struct {
	function string
	va, gpa  uint64
	old      []byte // its first bytes
}

// write writes code in place of what is there now, with no vCPU between its
// bytes as far as ready can tell.
func (s *site) write(t Target, now, code []byte, ready func(rip uint64, interrupts bool) bool) error {
	err := retry(func() (bool, error) {
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

// atStart is for code that is one instruction.
func (s *site) atStart(rip uint64, _ bool) bool { return rip == s.va }

// longest is the longest of the instructions that are looked for.
const longest = 5

// patch writes code over the first bytes of a kernel function. The function must
// begin with one of the instructions first.
func patch(t Target, function string, code []byte, first ...[]byte) (*site, error) {
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
	return s, s.write(t, s.old, code, s.atStart)
}

// LoopIn makes a kernel function loop at its first instruction, with interrupts
// on. A kernel without preemption never leaves it. Lifted, whoever loops goes on
// into the function as if it had just been called.
func LoopIn(t Target, function string) (*Injection, error) {
	s, err := patch(t, function, jumpToSelf, firstInstructions...)
	if err != nil {
		return nil, err
	}
	return &Injection{
		What: function + " loops at its first instruction",
		lift: func() error { return s.write(t, jumpToSelf, s.old, s.atStart) },
	}, nil
}

// MaskedLoopIn makes a kernel function turn interrupts off and loop.
//
// Lifting lets the loop turn interrupts on, and writes the old bytes back when
// all who loop have them on. Where those are endbr64, whoever was at the second
// instruction goes on behind its first byte, and what is left of it does nothing
// either; elsewhere they are written when nobody is there.
func MaskedLoopIn(t Target, function string) (*Injection, error) {
	s, err := patch(t, function, maskedLoop, endbr64, sealed, traced)
	if err != nil {
		return nil, err
	}
	return &Injection{
		What: function + " loops with interrupts off",
		lift: func() error {
			if err := s.write(t, maskedLoop, openedLoop, func(uint64, bool) bool { return true }); err != nil {
				return err
			}
			return s.write(t, openedLoop, s.old, func(rip uint64, interrupts bool) bool {
				return interrupts && (rip == s.va || !bytes.HasPrefix(traced, s.old))
			})
		},
	}, nil
}

// LoseTimer makes a function that is to set a timer say that it did, and not do
// it: vCPUs that halt are never woken any more by their own timer. There is no
// way back: with the old bytes in place again a kernel still believes that its
// timer is set, and only sets it for what is due before that.
func LoseTimer(t Target, function string) (*Injection, error) {
	// It is not traced, and runs with interrupts off: a vCPU is where its registers
	// say, and nobody else is anywhere in it.
	if _, err := patch(t, function, returnZero, append([][]byte{pushRBP}, firstInstructions...)...); err != nil {
		return nil, err
	}
	return &Injection{What: function + " does nothing"}, nil
}

// CrashIn makes a kernel function execute an undefined instruction, and the
// kernel panic of it. There is no way back.
func CrashIn(t Target, function string) (*Injection, error) {
	if err := setInt(t, "panic_on_oops", 1); err != nil {
		return nil, err
	}
	if _, err := patch(t, function, undefined, firstInstructions...); err != nil {
		return nil, err
	}
	return &Injection{What: function + " executes an undefined instruction"}, nil
}

// setInt writes an int of the kernel's.
func setInt(t Target, variable string, value int32) error {
	va, err := t.Symbol(variable)
	if err != nil {
		return err
	}
	gpa, err := t.Translate(va)
	if err != nil {
		return fmt.Errorf("find %s: %w", variable, err)
	}
	if err := t.WritePhysical(gpa, binary.LittleEndian.AppendUint32(nil, uint32(value))); err != nil {
		return fmt.Errorf("set %s: %w", variable, err)
	}
	return nil
}

// PanicLoop is CrashIn, in a kernel that is not let tell the hypervisor of it: the
// function notify, which would, does nothing. The kernel then loops at the end of
// its panic, for ever unless it has been told to boot again.
func PanicLoop(t Target, function, notify string) (*Injection, error) {
	if _, err := patch(t, notify, returnZero, firstInstructions...); err != nil {
		return nil, err
	}
	in, err := CrashIn(t, function)
	if err != nil {
		return nil, err
	}
	in.What += ", and " + notify + " does nothing"
	return in, nil
}

// PanicReboot is PanicLoop, in a kernel that has been told to boot again at once
// when it panics (panic=-1): what is then left of the panic is a guest that says it
// reboots.
func PanicReboot(t Target, function, notify string) (*Injection, error) {
	if err := setInt(t, "panic_timeout", -1); err != nil {
		return nil, err
	}
	in, err := PanicLoop(t, function, notify)
	if err != nil {
		return nil, err
	}
	in.What += ", and the panic ends in a reboot"
	return in, nil
}

// LoseInterrupts makes a kernel function turn interrupts off, and leave them so:
// what a lost local_irq_restore does. A kernel turns them on again when it goes
// back to a program or to another task; until then the vCPU hears nothing.
//
// Lifting lets the function turn them on, waits until every vCPU has them on, and
// writes the old bytes back.
func LoseInterrupts(t Target, function string) (*Injection, error) {
	s, err := patch(t, function, cli5, traced)
	code := cli5
	if err != nil {
		s, err = patch(t, function, cli4, endbr64, sealed)
		code = cli4
	}
	if err != nil {
		return nil, err
	}
	return &Injection{
		What: function + " leaves interrupts off",
		lift: func() error {
			sti := bytes.Clone(code)
			sti[0] = 0xfb
			if err := s.write(t, code, sti, func(uint64, bool) bool { return true }); err != nil {
				return err
			}
			for i := range t.VCPUs() {
				err := retry(func() (on bool, err error) {
					return paused(t, func() (bool, error) {
						_, on, err = t.Where(i)
						return on, err
					}, func() error { return nil })
				})
				if err != nil {
					return fmt.Errorf("turn the interrupts of vCPU %d on: %w", i, err)
				}
			}
			return s.write(t, sti, s.old, s.atStart)
		},
	}, nil
}
