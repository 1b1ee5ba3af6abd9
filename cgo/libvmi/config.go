package libvmi

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Target names a guest.
type Target struct {
	name string
	id   uint64
}

// ByName names a guest by its name in xenstore. (VMI_INIT_DOMAINNAME)
func ByName(name string) Target { return Target{name: name} }

// ByID names a guest by its number. (VMI_INIT_DOMAINID)
func ByID(id uint64) Target { return Target{id: id} }

func (t Target) String() string {
	if t.name != "" {
		return t.name
	}
	return fmt.Sprintf("domain %d", t.id)
}

// Config says how a guest is opened.
type Config struct {
	// Events opens the guest's event ring. A guest has one ring, and one process can
	// open it. (VMI_INIT_EVENTS)
	Events bool
	// Linux describes the guest's kernel. Without it only physical addresses can be
	// read.
	Linux *Linux
}

// Linux describes a Linux kernel to LibVMI.
type Linux struct {
	// Offsets in bytes: of tasks, mm, pid and comm in struct task_struct, and of pgd
	// in struct mm_struct.
	Tasks, MM, PID, Name, PGD uint64
	// Slide is the distance in bytes by which KASLR moved the kernel. If it is 0 and
	// the symbols are not at their addresses, LibVMI searches for it.
	Slide uint64
	// Symbols are symbols of the kernel, at their addresses without KASLR.
	Symbols []KernelSymbol
}

// KernelSymbol is a symbol of /proc/kallsyms or System.map.
type KernelSymbol struct {
	Name string
	Addr uint64
}

// word matches the names of guests that LibVMI's parser accepts. LibVMI writes the
// name in front of the configuration (config/lexicon.l).
var word = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]+$`)

// text returns the configuration in LibVMI's language. The symbols are in the file
// sysmap.
func (l *Linux) text(sysmap string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{ ostype = \"Linux\"; sysmap = \"%s\";", sysmap)
	for _, x := range []struct {
		name string
		v    uint64
	}{
		{"linux_tasks", l.Tasks}, {"linux_mm", l.MM}, {"linux_pid", l.PID},
		{"linux_name", l.Name}, {"linux_pgd", l.PGD}, {"linux_kaslr", l.Slide},
	} {
		if x.v != 0 || x.name != "linux_kaslr" {
			fmt.Fprintf(&b, " %s = %#x;", x.name, x.v)
		}
	}
	b.WriteString(" }")
	return b.String()
}

// writeSymbols writes the symbols in the form of System.map.
func (l *Linux) writeSymbols(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, s := range l.Symbols {
		if s.Name == "" || strings.ContainsAny(s.Name, " \t\r\n\x00") {
			return fmt.Errorf("%q is not a name of a kernel symbol", s.Name)
		}
		fmt.Fprintf(b, "%016x T %s\n", s.Addr, s.Name)
	}
	return b.Flush()
}
