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

// Config says what is wanted of a guest.
type Config struct {
	// Events opens the guest's event ring, which only one can have.
	// (VMI_INIT_EVENTS)
	Events bool
	// Linux describes the guest's kernel; nil if nothing is read but physical
	// addresses and by page tables.
	Linux *Linux
}

// Linux is what LibVMI has to know of a Linux kernel.
type Linux struct {
	// Offsets in struct task_struct of tasks, mm, pid and comm, and in struct
	// mm_struct of pgd, in bytes.
	Tasks, MM, PID, Name, PGD uint64
	// Slide is how far the kernel was moved (KASLR). LibVMI looks for it by itself
	// if it is 0 and the symbols are not where they should be.
	Slide uint64
	// Symbols are the kernel's, at the addresses before it was moved.
	Symbols []KernelSymbol
}

// KernelSymbol is a symbol of /proc/kallsyms or System.map.
type KernelSymbol struct {
	Name string
	Addr uint64
}

// word is what LibVMI's parser takes as a guest's name, which it puts in front
// of the configuration (config/lexicon.l).
var word = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]+$`)

// text is the configuration in LibVMI's language, with the symbols in the file
// sysmap.
func (l *Linux) text(sysmap string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "{ ostype = \"Linux\"; sysmap = \"%s\";", sysmap)
	for _, x := range []struct {
		name string
		v    uint64
	}{
		{"linux_tasks", l.Tasks}, {"linux_mm", l.MM}, {"linux_pid", l.PID}, {"linux_name", l.Name}, {"linux_pgd", l.PGD}, {"linux_kaslr", l.Slide},
	} {
		if x.v != 0 || x.name != "linux_kaslr" {
			fmt.Fprintf(&b, " %s = %#x;", x.name, x.v)
		}
	}
	b.WriteString(" }")
	return b.String()
}

// writeSymbols writes the symbols as System.map has them.
func (l *Linux) writeSymbols(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, s := range l.Symbols {
		if s.Name == "" || strings.ContainsAny(s.Name, " \t\r\n\x00") {
			return fmt.Errorf("%q is no name of a kernel symbol", s.Name)
		}
		fmt.Fprintf(b, "%016x T %s\n", s.Addr, s.Name)
	}
	return b.Flush()
}
