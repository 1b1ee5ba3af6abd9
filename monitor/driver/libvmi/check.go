package libvmi

import (
	"bytes"
	"errors"
	"fmt"

	vmi "hangbench/cgo/libvmi"
	"hangbench/monitor/linux"
)

// Fields are the structure fields that Check needs beyond those of monitor/linux.
func Fields() []string { return []string{"task_struct.mm?", "mm_struct.pgd?"} }

// Check has LibVMI find its way in a guest's Linux by itself: the guest by its
// name, and the kernel by a configuration in memory, of offsets and symbols that
// layout knows. What it finds must be what ours does: address and slide by
// ours.Symbol, translations by ours.Translate.
func Check(domain string, layout linux.Layout, ours *linux.Kernel) (err error) {
	l := &vmi.Linux{Slide: ours.Slide()}
	for _, f := range []struct {
		into        *uint64
		typ, member string
	}{
		{&l.Tasks, "task_struct", "tasks"}, {&l.MM, "task_struct", "mm"}, {&l.PID, "task_struct", "pid"},
		{&l.Name, "task_struct", "comm"}, {&l.PGD, "mm_struct", "pgd"},
	} {
		at, ok := layout.Field(f.typ, f.member)
		if !ok {
			return fmt.Errorf("the kernel's profile has no %s.%s", f.typ, f.member)
		}
		*f.into = uint64(at.Offset)
	}
	names := []string{"init_task", "linux_banner"}
	for _, name := range names {
		addr, perCPU, ok := layout.Lookup(name)
		if !ok || perCPU {
			return fmt.Errorf("the kernel has no symbol %s", name)
		}
		l.Symbols = append(l.Symbols, vmi.KernelSymbol{Name: name, Addr: addr})
	}
	v, err := vmi.Open(vmi.ByName(domain), vmi.Config{Linux: l})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	banner := []byte(layout.Banner())
	for _, name := range names {
		va, err := v.Symbol(name)
		if err != nil {
			return err
		}
		want, err := ours.Symbol(name)
		if err != nil {
			return err
		}
		if va != want {
			return fmt.Errorf("LibVMI has %s at %#x, where it is at %#x", name, va, want)
		}
		pa, err := ours.Translate(va)
		if err != nil {
			return err
		}
		// The same bytes by each way of naming them; a banner does not change.
		for _, a := range []vmi.Address{vmi.Physical(pa), vmi.InProcess(va, 0), vmi.Symbol(name)} {
			if name != "linux_banner" {
				break
			}
			b := make([]byte, len(banner))
			if err := v.Read(a, b); err != nil {
				return err
			}
			if !bytes.Equal(b, banner) {
				return fmt.Errorf("LibVMI reads %q as the kernel's banner at %v, which is %q", b, a, banner)
			}
		}
	}
	return nil
}
