package inject

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Machine code that is written over a function's first bytes.
var (
	jumpToSelf = []byte{0xeb, 0xfe} // jmp .
	undefined  = []byte{0x0f, 0x0b} // ud2
)

// firstInstructions are what functions of an x86-64 kernel begin with that have
// a hook or are called by pointer: endbr64, and the five-byte no-operation or
// call of the function tracer. A vCPU is never between the two bytes written:
// both lie in the one instruction.
var firstInstructions = [][]byte{
	{0xf3, 0x0f, 0x1e, 0xfa},
	{0x0f, 0x1f, 0x44, 0x00},
	{0x66, 0x0f, 0x1f, 0x00},
	{0x0f, 0x1f, 0x40},
	{0xe8},
}

// patch writes code over the first bytes of a kernel function, and returns how
// to write the old ones back.
func patch(t Target, function string, code []byte) (undo func() error, err error) {
	fail := func(err error) (func() error, error) {
		return nil, fmt.Errorf("patch %s: %w", function, err)
	}
	va, err := t.Symbol(function)
	if err != nil {
		return nil, err
	}
	gpa, err := t.Translate(va)
	if err != nil {
		return fail(err)
	}
	// The bytes must lie in one frame.
	if gpa%4096 > 4096-4 {
		return fail(fmt.Errorf("it begins at the end of a page"))
	}
	head := make([]byte, 4)
	if err := t.ReadPhysical(gpa, head); err != nil {
		return fail(err)
	}
	known := false
	for _, f := range firstInstructions {
		known = known || bytes.HasPrefix(head, f)
	}
	if !known {
		return fail(fmt.Errorf("it begins with %x, which is no known first instruction", head))
	}
	old := head[:len(code)]
	restore := func() error {
		if err := t.WritePhysical(gpa, old); err != nil {
			return fmt.Errorf("restore %s: %w", function, err)
		}
		return nil
	}
	err = retry(func() (bool, error) {
		return paused(t, func() (bool, error) {
			for i := range t.VCPUs() {
				rip, err := t.InstructionPointer(i)
				if err != nil {
					return false, err
				}
				if rip > va && rip < va+uint64(len(code)) {
					return false, nil
				}
			}
			return true, put(t, gpa, old, code)
		}, restore)
	})
	if err != nil {
		return fail(err)
	}
	return func() error {
		// Paused, so that no vCPU fetches one old and one new byte.
		_, err := paused(t, func() (bool, error) { return true, restore() }, func() error { return nil })
		return err
	}, nil
}

// LoopIn makes a kernel function loop at its first instruction, with interrupts
// on. A kernel without preemption never leaves it. Lifted, whoever loops goes on
// into the function as if it had just been called.
func LoopIn(t Target, function string) (*Injection, error) {
	undo, err := patch(t, function, jumpToSelf)
	if err != nil {
		return nil, err
	}
	return &Injection{What: function + " loops at its first instruction", lift: undo}, nil
}

// CrashIn makes a kernel function execute an undefined instruction, and the
// kernel panic of it. There is no way back.
func CrashIn(t Target, function string) (*Injection, error) {
	va, err := t.Symbol("panic_on_oops")
	if err != nil {
		return nil, err
	}
	gpa, err := t.Translate(va)
	if err != nil {
		return nil, fmt.Errorf("find panic_on_oops: %w", err)
	}
	if err := t.WritePhysical(gpa, binary.LittleEndian.AppendUint32(nil, 1)); err != nil {
		return nil, fmt.Errorf("set panic_on_oops: %w", err)
	}
	if _, err := patch(t, function, undefined); err != nil {
		return nil, err
	}
	return &Injection{What: function + " executes an undefined instruction"}, nil
}
