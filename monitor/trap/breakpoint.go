package trap

import (
	"fmt"

	"hangbench/monitor/driver"
)

// int3 is the INT3 instruction.
const int3 = 0xcc

// breakpoint is an INT3 at the first byte of the site's function. The mechanisms
// with breakpoints share it.
type breakpoint struct {
	host     Host
	gpa      uint64 // guest-physical address of the function
	original byte   // what stands there without the breakpoint
}

// find reads the original byte.
func (b *breakpoint) find() error {
	site := b.host.Site()
	b.gpa = site.GFN<<12 | site.VA&0xfff
	var c [1]byte
	if err := b.host.Memory().ReadPhysical(b.gpa, c[:]); err != nil {
		return fmt.Errorf("read %s: %w", site.Symbol, err)
	}
	if c[0] == int3 {
		return fmt.Errorf("there is a breakpoint at %s already, of another monitor or one that died: "+
			"run hangbench recover first", site.Symbol)
	}
	b.original = c[0]
	return nil
}

// ours reports whether the breakpoint event is of this breakpoint. If not, the
// response gives the guest its own INT3.
func (b *breakpoint) ours(ev *driver.Event, r *driver.Response) bool {
	if !b.host.Site().At(ev) {
		r.Reinject = true
		return false
	}
	return true
}

// write writes one byte of the function or its copy.
func (b *breakpoint) write(gpa uint64, c byte) error {
	if err := b.host.Memory().WritePhysical(gpa, []byte{c}); err != nil {
		return fmt.Errorf("write the breakpoint of %s: %w", b.host.Site().Symbol, err)
	}
	return nil
}

// checkByte returns an error unless the byte at gpa is the wanted one.
func (b *breakpoint) checkByte(gpa uint64, want byte) error {
	var c [1]byte
	if err := b.host.Memory().ReadPhysical(gpa, c[:]); err != nil {
		return fmt.Errorf("check the trap: %w", err)
	}
	if c[0] != want {
		return fmt.Errorf("check the trap: byte %#x at %#x, not %#x", c[0], gpa, want)
	}
	return nil
}
