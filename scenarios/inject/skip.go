package inject

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// settled is how long Skip waits until a task that was interrupted in the code of a
// skipped function has executed the rest of it: two instructions. Registers show where a
// vCPU is, and not where a task is that an interrupt has stopped.
const settled = 200 * time.Millisecond

// returning is code that returns a value from a function: push $value; pop %rax; ret.
// The value is extended with its sign to 64 bits. It fits in the first instruction of
// every function that can be patched.
func returning(value int8) []byte { return []byte{0x6a, byte(value), 0x58, 0xc3} }

// Skip makes a kernel function return a value at once, without doing anything. For a
// function that returns nothing the value does not matter.
//
// Remove first makes the function jump behind its first instruction, and keeps the rest
// of the code for tasks that are in it. After the time settled it writes the old bytes
// back. What the function has not done meanwhile, it does not make up for.
func Skip(function string, value int8) Fault {
	return func(ctx context.Context, t Target) (*Injection, error) {
		code := returning(value)
		s, err := patch(ctx, t, function, code, firstInstructions...)
		if err != nil {
			return nil, err
		}
		// jmp behind the first instruction, and the rest of code.
		leave := append([]byte{0xeb, byte(firstLength(s.old) - 2)}, code[2:]...)
		return &Injection{
			What: fmt.Sprintf("%s returns %d and does nothing", function, value),
			remove: func(ctx context.Context) error {
				if err := s.write(ctx, t, code, leave, anywhere); err != nil {
					return err
				}
				if err := t.Sleep(ctx, settled); err != nil {
					return err
				}
				return s.write(ctx, t, leave, s.old, s.atStart)
			},
		}, nil
	}
}

// firstLength is the length in bytes of the one of firstInstructions that code begins
// with.
func firstLength(code []byte) int {
	if code[0] == callNear || bytes.HasPrefix(code, traced[:3]) || bytes.HasPrefix(code, oldTraced[:3]) {
		return len(traced)
	}
	return len(endbr64)
}
