package detect

import (
	"fmt"
	"strings"
	"time"
)

// step is one observation and the one before it.
type step struct {
	t, dt    int64 // dom0's clock, and the time since the last observation, ns
	domain   Domain
	vcpus    []VCPU
	last     []VCPU // of the last observation, as many; without Callers
	online   int    // number of online vCPUs
	kernel   *Kernel
	affected []bool // by vCPU: a rule finds it hung
	doubted  []bool // by vCPU: see Detector.Doubts
}

// full reports whether every online vCPU hangs.
func (s *step) full() bool {
	n := 0
	for i, hangs := range s.affected {
		if hangs {
			n++
		} else if s.vcpus[i].Online {
			return false
		}
	}
	return n > 0
}

func (s *step) scope() Scope {
	if s.full() {
		return Full
	}
	return Partial
}

// queues adds up the run queues of the online vCPUs. It returns 0, 0, false if one of
// them could not be read, or if no vCPU is online.
func (s *step) queues() (running uint64, shortest uint64, ok bool) {
	if s.online == 0 {
		return 0, 0, false
	}
	shortest = ^uint64(0)
	for i := range s.vcpus {
		if !s.vcpus[i].Online {
			continue
		}
		q := s.vcpus[i].Queue
		if q == nil {
			return 0, 0, false
		}
		running += uint64(q.Running)
		shortest = min(shortest, uint64(q.Running))
	}
	return running, shortest, true
}

// span is a time over which something was true at every observation.
type span struct {
	sinceNS int64 // first observation of the span
	samples int   // observations of the span
}

// extend adds an observation to the span, or ends the span.
func (p *span) extend(t int64, holds bool) {
	if !holds {
		*p = span{}
		return
	}
	if p.samples == 0 {
		p.sinceNS = t
	}
	p.samples++
}

// lasts reports whether the span is as long as the threshold and long enough in
// samples. The first sample starts it and shows no time.
func (p *span) lasts(t int64, threshold time.Duration) bool {
	return p.samples > minSamples && t-p.sinceNS >= int64(threshold)
}

// reason says why a streak of samples ended. It is formatted only when asked for.
type reason struct {
	text   string
	n      uint64
	symbol string
}

// Texts of a reason. %d stands for its number, %s for its symbol.
const (
	becauseSwitched  = "it switched tasks %d times"
	becauseHalted    = "it was halted"
	becauseUnsampled = "its registers were not read"
	becauseUser      = "it ran outside the kernel"
	becauseUnrun     = "it did not run"
	becauseIn        = "it was in %s"
)

func (r reason) String() string {
	switch {
	case strings.Contains(r.text, "%d"):
		return fmt.Sprintf(r.text, r.n)
	case strings.Contains(r.text, "%s"):
		return fmt.Sprintf(r.text, r.symbol)
	}
	return r.text
}

// alive returns a sign that the vCPU was not in one and the same piece of kernel
// code since the last observation. It returns the zero reason if there was no such
// sign and the vCPU was sampled in the kernel.
func alive(now, was *VCPU) reason {
	switch {
	case switched(now, was) != 0:
		return reason{text: becauseSwitched, n: switched(now, was)}
	case now.Blocked:
		return reason{text: becauseHalted}
	case !now.Sampled:
		return reason{text: becauseUnsampled}
	case !inKernel(now):
		return reason{text: becauseUser}
	case now.CPUTimeNS <= was.CPUTimeNS:
		return reason{text: becauseUnrun}
	}
	return reason{}
}

// switched returns how many task switches of the vCPU are known. The mechanism
// misses some; the guest's own count has all.
func switched(now, was *VCPU) uint64 {
	if n := now.Signals - was.Signals; n != 0 {
		return n
	}
	if now.Queue != nil && was.Queue != nil {
		return now.Queue.Switches - was.Queue.Switches
	}
	return 0
}

// interrupted returns how many interrupts the vCPU has handled. known is false if
// the guest's count was not read.
func interrupted(now, was *VCPU) (n uint64, known bool) {
	if now.Queue == nil || was.Queue == nil || now.Queue.Interrupts == 0 || was.Queue.Interrupts == 0 {
		return 0, false
	}
	return now.Queue.Interrupts - was.Queue.Interrupts, true
}

// inKernel reports whether the vCPU was sampled in the kernel: in a function of
// the kernel, or elsewhere in the upper half of the address space (a module).
func inKernel(v *VCPU) bool {
	return v.Sampled && !v.UserMode && (v.Symbol != "" || v.RIP>>63 != 0)
}

// where names the place of a sample.
func where(v *VCPU) string {
	if v.Symbol != "" {
		return v.Symbol
	}
	return "a module or unknown code"
}

// few is a set of at most eight names.
type few struct {
	names [8]string
	n     int
}

// add adds a name. It returns false if the set was full and the name is not in it.
func (f *few) add(name string) bool {
	for _, have := range f.names[:f.n] {
		if have == name {
			return true
		}
	}
	if f.n == len(f.names) {
		return false
	}
	f.names[f.n] = name
	f.n++
	return true
}

func (f *few) String() string { return strings.Join(f.names[:f.n], ", ") }

// bare cuts the compiler's suffixes off a function's name: .part.0, .constprop.0.
func bare(symbol string) string {
	symbol, _, _ = strings.Cut(symbol, ".")
	return symbol
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// entryCode reports whether a function is part of the way into the kernel or out
// of it (arch/x86/entry, kernel/entry). That code runs with interrupts off. A task
// that does nothing but system calls is often sampled there.
func entryCode(symbol string) bool {
	return hasPrefix(symbol, "entry_", "asm_", "exc_", "syscall_", "irqentry_", "exit_to_user", "do_syscall_",
		"x64_sys_call", "error_entry", "error_return", "paranoid_", "swapgs_", "ret_from_fork",
		"common_interrupt_return", "restore_", "native_irq_return", "sysvec_")
}

// idleCode reports whether a function is part of the idle loop. A CPU that polls
// there instead of halting may stay for ever.
func idleCode(symbol string) bool {
	switch bare(symbol) {
	case "default_idle", "default_idle_call", "do_idle", "cpu_idle_poll", "poll_idle", "native_safe_halt",
		"pv_native_safe_halt", "arch_cpu_idle", "mwait_idle", "xen_safe_halt", "cpu_startup_entry":
		return true
	}
	return hasPrefix(symbol, "cpuidle_", "acpi_idle", "intel_idle")
}
