package detect

import "fmt"

// ClassPanic: the kernel has given up.
const ClassPanic Class = "panic"

func panicEntry() entry {
	return entry{
		start:  func() rule { return &panicRule{} },
		single: true,
		classes: []class{{
			Info: Info{
				Class: ClassPanic, Severity: 90,
				Reads: "panic_cpu, the domain's shutdown reason, functions on the vCPUs' stacks",
				Early: "at once; in the panic code at two samples in a row",
			},
		}},
	}
}

// panicRule finds a kernel that has given up. Either the kernel says so, or the
// hypervisor says that the domain crashed, or a vCPU is sampled in the panic code,
// which never returns.
//
// A domain that reboots or powers off has not panicked, unless its kernel's memory,
// which can still be read, says so. A kernel may be configured to reboot when it
// panics; then the hypervisor sees a reboot and nothing else.
//
// A domain that Xen's watchdog has ended did not panic: its watchdog program
// stopped answering. The rule reports that as a stopped guest.
type panicRule struct {
	cpu       int // that panics by the last inspection, -1 for none
	inspected bool
	inPanic   []int // by vCPU: samples in a row in the panic code
	function  string
	shutdown  string
}

func (r *panicRule) restart(vcpus int) {
	if len(r.inPanic) != vcpus {
		r.inPanic = make([]int, vcpus)
	}
	clear(r.inPanic)
	r.cpu, r.inspected, r.function, r.shutdown = -1, false, "", ""
}

func (r *panicRule) observe(s *step) level {
	r.shutdown = s.domain.Shutdown
	if s.kernel != nil {
		r.cpu, r.inspected = s.kernel.Panicking, true
	}
	found := r.shutdown == "crash" || r.shutdown == "watchdog" || r.cpu >= 0
	for i := range s.vcpus {
		v := &s.vcpus[i]
		name := panicCode(v)
		if name == "" {
			// An interrupt taken in the panic loop does not end the row. A task switch does.
			if !v.Sampled || !v.Online || switched(v, &s.last[i]) != 0 {
				r.inPanic[i] = 0
			}
			continue
		}
		r.function = name
		if r.inPanic[i]++; r.inPanic[i] >= 2 {
			found = true
		}
	}
	if found {
		for i := range s.affected {
			s.affected[i] = true
		}
		return hung
	}
	if !r.inspected {
		return blind
	}
	return calm
}

// panicCode returns the panic function that the vCPU is in or was called from.
func panicCode(v *VCPU) string {
	if !inKernel(v) {
		return ""
	}
	if isPanic(v.Symbol) {
		return v.Symbol
	}
	for _, c := range v.Callers[:min(len(v.Callers), maxCallers)] {
		if isPanic(c) {
			return c
		}
	}
	return ""
}

// maxCallers is the number of callers, or of functions on a stack, that a rule
// examines.
const maxCallers = 32

// isPanic reports whether a function of kernel/panic.c or arch/x86/kernel is one
// that is entered once and never left.
func isPanic(symbol string) bool {
	switch bare(symbol) {
	case "panic", "vpanic", "nmi_panic", "panic_smp_self_stop", "nmi_panic_self_stop", "xen_panic_event":
		return true
	}
	return false
}

func (r *panicRule) verdict(s *step) Verdict {
	v := Verdict{Class: ClassPanic, Scope: Full}
	switch r.shutdown {
	case "watchdog":
		v.Class = ClassStopped
		v.Evidence = append(v.Evidence, "the hypervisor's watchdog has ended the domain: "+
			"nothing in it has reset the watchdog in time")
	case "crash", "reboot", "poweroff", "suspend":
		v.Evidence = append(v.Evidence, "the domain has shut down: "+r.shutdown)
	}
	if r.cpu >= 0 {
		v.Evidence = append(v.Evidence, fmt.Sprintf("CPU %d of the guest has entered panic (panic_cpu)", r.cpu))
	}
	for i, n := range r.inPanic {
		if n >= 2 {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: in or below %s at %d samples in a row", i,
				r.function, n))
		}
	}
	return v
}

func (r *panicRule) notes(to []string) []string { return to }
