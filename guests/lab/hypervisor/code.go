package hypervisor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// functions are functions of an image by their names.
type functions struct {
	memory
	addrs map[string]uint64
	ends  map[string]uint64 // address of the next symbol; the last function has none
}

const (
	// maxBegin is how many bytes of a function are read for a comparison. In Debian's builds
	// of 4.17 and 4.20 it is in the first 102.
	maxBegin = 512
	maxExtra = 256 // longest extra version in bytes
)

// begin returns the code of a function and its address, without what compilers begin any
// function with: endbr64, and the set-up of a frame pointer.
func (f *functions) begin(name string) (code []byte, addr uint64) {
	addr = f.addrs[name]
	size := uint64(maxBegin)
	if end, ok := f.ends[name]; ok {
		size = min(size, end-addr)
	}
	code = f.at(addr, int(size))
	for _, skip := range [][]byte{
		{0xf3, 0x0f, 0x1e, 0xfa},       // endbr64
		{0x55, 0x48, 0x89, 0xe5},       // push %rbp; mov %rsp,%rbp
		{0x55, 0x90, 0x48, 0x89, 0xe5}, // the same, with a nop
	} {
		if rest, ok := bytes.CutPrefix(code, skip); ok {
			code, addr = rest, addr+uint64(len(skip))
		}
	}
	return code, addr
}

// number returns the number that a function returns: mov $N,%eax.
func (f *functions) number(name string) (int, error) {
	code, _ := f.begin(name)
	if len(code) < 5 || code[0] != 0xb8 {
		return 0, unknown(name, code)
	}
	n := binary.LittleEndian.Uint32(code[1:])
	if n > 1000 {
		return 0, fmt.Errorf("its function %s returns %d: it is damaged", name, n)
	}
	return int(n), nil
}

// text returns the text to which a function returns a pointer: lea N(%rip),%rax.
func (f *functions) text(name string) (string, error) {
	code, addr := f.begin(name)
	if len(code) < 7 || !bytes.HasPrefix(code, []byte{0x48, 0x8d, 0x05}) {
		return "", unknown(name, code)
	}
	at := addr + 7 + uint64(int64(int32(binary.LittleEndian.Uint32(code[3:]))))
	text, _, ok := bytes.Cut(f.at(at, maxExtra+1), []byte{0})
	if !ok {
		return "", fmt.Errorf("its function %s returns no text: it is damaged", name)
	}
	for _, c := range text {
		if c <= ' ' || c >= 0x7f {
			return "", fmt.Errorf("its function %s returns %q, which is no version: it is damaged", name, text)
		}
	}
	return string(text), nil
}

// ErrUnknownCode says that an image is one of Xen, and that its code is not compiled in a way
// that is known.
var ErrUnknownCode = errors.New("it is an image of Xen that was compiled in a way that is not known")

// unknown is the error for code that is not known.
func unknown(name string, code []byte) error {
	return fmt.Errorf("%w: its function %s begins with % x", ErrUnknownCode, name, code[:min(len(code), 8)])
}

// compared returns the number with which a function compares the second 32-bit word of a
// structure that it has copied to its stack: interface_version of xen_domctl and
// xen_sysctl. The comparison has one of the forms
//
//	lea    N(%rsp),%reg     the structure, for copy_from_guest
//	...
//	cmpl   $VERSION,N+4(%rsp)
//	jne
//
//	lea    N(%rsp),%reg
//	...
//	mov    N+4(%rsp),%reg2
//	...
//	cmp    $VERSION,%reg2
//	jne
//
// with %rbp or another register that holds the structure in place of %rsp. A structure at
// the top of the stack needs no lea. The code is not decoded from its beginning: any byte
// may begin an instruction, and registers that differ in their REX prefix alone are not
// told apart.
func (f *functions) compared(name string) (uint32, error) {
	code, _ := f.begin(name)
	const rsp = 4
	copied := map[operand]bool{{reg: rsp}: true} // where the structure can be
	loaded := map[byte]bool{}                    // registers that can have its second word
	second := func(o operand) bool {
		o.disp -= 4
		return copied[o]
	}
	for i, op := range code {
		rest := code[i+1:]
		o, reg, n, memory := operandAt(rest)
		switch {
		case op == 0x8d && memory: // lea
			copied[o], copied[operand{reg: reg}] = true, true
		case op == 0x8b && memory: // mov
			loaded[reg] = second(o)
		case op == 0x83 || op == 0x81: // an operation, which reg names, with a number of 8 or 32 bits
			is := memory && second(o)
			if len(rest) > 0 && rest[0]>>6 == 3 { // of a register
				reg, n, is = rest[0]>>3&7, 1, loaded[rest[0]&7]
			}
			const cmp = 7
			if version, ok := immediate(rest[n:], op == 0x81); reg == cmp && is && ok {
				return version, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: its function %s compares the version of its interface", ErrUnknownCode, name)
}

// immediate decodes the number of a comparison, of 8 bits or 32, that a jump follows, if it
// can be the version of an interface.
func immediate(b []byte, wide bool) (version uint32, ok bool) {
	switch {
	case wide && len(b) >= 4:
		version, b = binary.LittleEndian.Uint32(b), b[4:]
	case !wide && len(b) >= 1:
		version, b = uint32(int32(int8(b[0]))), b[1:]
	default:
		return 0, false
	}
	for _, jump := range [][]byte{{0x75}, {0x0f, 0x85}, {0x74}, {0x0f, 0x84}} { // jne and je
		if bytes.HasPrefix(b, jump) {
			return version, version > 0 && version < 0x1000
		}
	}
	return 0, false
}

// operand is an operand in memory: a register, 0 to 7, and a displacement.
type operand struct {
	reg  byte
	disp int32
}

// operandAt decodes the ModRM byte and what belongs to it: an operand in memory without
// an index, and the register or operation beside it. n is how many bytes they take.
func operandAt(b []byte) (o operand, other byte, n int, ok bool) {
	if len(b) < 2 {
		return o, 0, 0, false
	}
	mod, rm := b[0]>>6, b[0]&7
	other, n = b[0]>>3&7, 1
	if mod == 0 && rm == 5 { // relative to %rip
		return o, 0, 0, false
	}
	if rm == 4 { // a SIB byte; index 4 is none
		if b[1]>>3&7 != 4 || mod == 0 && b[1]&7 == 5 {
			return o, 0, 0, false
		}
		rm, n = b[1]&7, 2
	}
	o.reg = rm
	switch {
	case mod == 1 && len(b) > n:
		o.disp, n = int32(int8(b[n])), n+1
	case mod == 2 && len(b) >= n+4:
		o.disp, n = int32(binary.LittleEndian.Uint32(b[n:])), n+4
	case mod != 0: // a register, or cut off
		return o, 0, 0, false
	}
	return o, other, n, true
}
