package detect

import "fmt"

// panicRule finds a kernel that has given up: it says so itself, the hypervisor
// says that the domain crashed, or a vCPU is seen in the panic code, from which
// there is no way back.
//
// A domain that says it reboots or powers off has not panicked, unless its kernel's
// memory, which is still there to be read, says so: a kernel may be told to boot
// again when it panics, and then that is all the hypervisor hears of it.
//
// A domain that Xen's watchdog has ended did not panic; somebody in it stopped
// answering. That is a stopped guest, and the rule reports it as such.
type panicRule struct {
	cpu      int // that panics by the last look, -1 for none
	looked   bool
	inPanic  []int // by vCPU: samples in a row in the panic code
	function string
	shutdown string
}

func (r *panicRule) restart(vcpus int) {
	if len(r.inPanic) != vcpus {
		r.inPanic = make([]int, vcpus)
	}
	clear(r.inPanic)
	r.cpu, r.looked, r.function, r.shutdown = -1, false, "", ""
}

func (r *panicRule) observe(s *step) level {
	r.shutdown = s.domain.Shutdown
	if s.look != nil {
		r.cpu, r.looked = s.look.Panicking, true
	}
	found := r.shutdown == "crash" || r.shutdown == "watchdog" || r.cpu >= 0
	for i := range s.vcpus {
		v := &s.vcpus[i]
		name := panicCode(v)
		if name == "" {
			// An interrupt taken in the panic loop does not end the row; life does.
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
	if !r.looked {
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

// maxCallers bounds how many callers are looked at.
const maxCallers = 32

// isPanic names functions of kernel/panic.c and arch/x86/kernel that are entered
// once and never left.
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
		v.Evidence = append(v.Evidence, "the hypervisor's watchdog has ended the domain: nobody in it has set it again in time")
	case "crash", "reboot", "poweroff", "suspend":
		v.Evidence = append(v.Evidence, "the domain has ended itself: "+r.shutdown)
	}
	if r.cpu >= 0 {
		v.Evidence = append(v.Evidence, fmt.Sprintf("CPU %d of the guest has entered panic (panic_cpu)", r.cpu))
	}
	for i, n := range r.inPanic {
		if n >= 2 {
			v.Evidence = append(v.Evidence, fmt.Sprintf("vCPU %d: in or below %s at %d samples in a row", i, r.function, n))
		}
	}
	return v
}

func (r *panicRule) notes(to []string) []string { return to }
