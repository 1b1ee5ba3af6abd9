package inject

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// caves are functions whose code a guest never executes while it is up: the kernel runs
// them to start another kernel, or when it crashes with one loaded. The code of a delay
// is written over the first of them that is there and large enough.
var caves = []string{"machine_kexec", "native_machine_crash_shutdown", "machine_crash_shutdown"}

// Wait is how a delayed function waits.
type Wait string

// The ways to wait.
const (
	// Spin: the vCPU computes, with preemption and interrupts as its caller has them.
	Spin Wait = "spin"
	// Sleep: the task sleeps, not to be woken. The function must be one that may sleep.
	Sleep Wait = "sleep"
)

// Delay makes each call of a kernel function take so much longer, a whole number of
// milliseconds. The function must have the place of the function tracer's call, which
// becomes a call of code that waits.
//
// Remove puts the place back. Tasks that wait go on when their time is over, so the code
// that waits stays where it is: nothing else is executed there.
func Delay(function string, by time.Duration, how Wait) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		s, err := tracerCall(t, function)
		if err != nil {
			return nil, err
		}
		var code func(va uint64) []byte
		switch how {
		case Spin:
			cycles, err := tscCycles(t, by)
			if err != nil {
				return nil, err
			}
			code = func(uint64) []byte { return spinning(cycles) }
		case Sleep:
			msleep, err := t.Symbol("msleep")
			if err != nil {
				return nil, err
			}
			code = func(va uint64) []byte { return sleeping(va, msleep, uint32(by.Milliseconds())) }
		default:
			return nil, fmt.Errorf("delay %s: there is no way to wait called %q", function, how)
		}
		cave, err := findCave(t, uint64(len(code(0))))
		if err != nil {
			return nil, fmt.Errorf("delay %s: %w", function, err)
		}
		body := code(cave.va)
		if cave.old, err = readCode(t, cave.va, uint64(len(body)), cave.function); err != nil {
			return nil, err
		}
		nowhere := func(uint64, bool) bool { return false }
		if err := cave.write(ctx, t, cave.old, body, nowhere); err != nil {
			return nil, err
		}
		if err := s.write(ctx, t, s.old, call(s.va, cave.va), s.atStart); err != nil {
			return nil, errors.Join(err, cave.write(context.WithoutCancel(ctx), t, body, cave.old, nowhere))
		}
		return &Injection{
			What:   fmt.Sprintf("each call of %s takes %v longer (%s)", function, by, how),
			remove: func(ctx context.Context) error { return s.write(ctx, t, call(s.va, cave.va), s.old, s.atStart) },
		}, nil
	}
}

// tracerCall returns the place of the function tracer's call in a function: its first
// instruction, or the one behind endbr64.
func tracerCall(t Target, function string) (*site, error) {
	va, err := t.Symbol(function)
	if err != nil {
		return nil, err
	}
	head, err := readCode(t, va, uint64(len(endbr64)+len(traced)), function)
	if err != nil {
		return nil, err
	}
	at := 0
	if bytes.HasPrefix(head, endbr64) || bytes.HasPrefix(head, sealed) || bytes.HasPrefix(head, newSealed) {
		at = len(endbr64)
	}
	if !bytes.HasPrefix(head[at:], traced) && !bytes.HasPrefix(head[at:], oldTraced) {
		return nil, fmt.Errorf("patch %s: it begins with %x, and has no place of the function tracer's call", function, head)
	}
	s := &site{function: function, va: va + uint64(at), old: head[at : at+len(traced)]}
	if s.va%4096 > 4096-uint64(len(traced)) {
		return nil, fmt.Errorf("patch %s: the place of the function tracer's call lies across pages", function)
	}
	if s.gpa, err = t.Translate(s.va); err != nil {
		return nil, fmt.Errorf("patch %s: %w", function, err)
	}
	return s, nil
}

// findCave returns a place for n bytes of code in one page of one of the caves.
func findCave(t Target, n uint64) (*site, error) {
	for _, function := range caves {
		va, err := t.Symbol(function)
		if err != nil {
			continue
		}
		size, err := t.Size(function)
		if err != nil {
			continue
		}
		at := va
		if at%4096 > 4096-n {
			at = (va | 4095) + 1
		}
		if at+n > va+size {
			continue
		}
		gpa, err := t.Translate(at)
		if err != nil {
			return nil, fmt.Errorf("find the code of %s: %w", function, err)
		}
		return &site{function: function, va: at, gpa: gpa}, nil
	}
	return nil, fmt.Errorf("the kernel has no function of %v with room for %d bytes of code in one page", caves, n)
}

// call is the instruction at va that calls to.
func call(va, to uint64) []byte {
	return binary.LittleEndian.AppendUint32([]byte{callNear}, uint32(to-va-callBytes))
}

// tscCycles returns how often the time-stamp counter counts in a time, by the kernel's
// own measure of it.
func tscCycles(t Target, d time.Duration) (uint64, error) {
	va, err := t.Symbol("tsc_khz")
	if err != nil {
		return 0, err
	}
	gpa, err := t.Translate(va)
	if err != nil {
		return 0, fmt.Errorf("find tsc_khz: %w", err)
	}
	var b [4]byte
	if err := t.ReadPhysical(gpa, b[:]); err != nil {
		return 0, fmt.Errorf("read tsc_khz: %w", err)
	}
	khz := binary.LittleEndian.Uint32(b[:])
	if khz == 0 {
		return 0, errors.New("the kernel has not measured its time-stamp counter: tsc_khz is 0")
	}
	return uint64(khz) * uint64(d.Milliseconds()), nil
}

// spinning is code that returns when the time-stamp counter has counted so much. It
// changes no register but the flags, which no function keeps.
func spinning(cycles uint64) []byte {
	readTSC := []byte{
		0x0f, 0x31, // rdtsc
		0x48, 0xc1, 0xe2, 0x20, // shl $32, %rdx
		0x48, 0x09, 0xd0, // or %rdx, %rax
	}
	b := []byte{0x51, 0x52, 0x50} // push %rcx; push %rdx; push %rax
	b = append(b, readTSC...)
	b = binary.LittleEndian.AppendUint64(append(b, 0x48, 0xb9), cycles) // movabs $cycles, %rcx
	b = append(b, 0x48, 0x01, 0xc1)                                     // add %rax, %rcx
	loop := len(b)
	b = append(b, 0xf3, 0x90) // pause
	b = append(b, readTSC...)
	b = append(b, 0x48, 0x39, 0xc8)          // cmp %rcx, %rax
	b = append(b, 0x72, byte(loop-len(b)-2)) // jb loop
	return append(b, 0x58, 0x5a, 0x59, 0xc3) // pop %rax; pop %rdx; pop %rcx; ret
}

// sleeping is code at va that calls msleep for so many milliseconds. It keeps every
// register that a caller may have arguments in.
func sleeping(va, msleep uint64, ms uint32) []byte {
	b := []byte{
		0x50, 0x51, 0x52, 0x56, 0x57, // push %rax, %rcx, %rdx, %rsi, %rdi
		0x41, 0x50, 0x41, 0x51, 0x41, 0x52, 0x41, 0x53, // push %r8 to %r11
	}
	b = binary.LittleEndian.AppendUint32(append(b, 0xbf), ms) // mov $ms, %edi
	b = append(b, call(va+uint64(len(b)), msleep)...)
	return append(b,
		0x41, 0x5b, 0x41, 0x5a, 0x41, 0x59, 0x41, 0x58, // pop %r11 to %r8
		0x5f, 0x5e, 0x5a, 0x59, 0x58, // pop %rdi, %rsi, %rdx, %rcx, %rax
		0xc3) // ret
}
