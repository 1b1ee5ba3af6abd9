package detect

import (
	"fmt"
	"strings"
)

// Class is the kind of a hang.
type Class string

const (
	ClassPanic     Class = "panic"     // the kernel has given up
	ClassSpin      Class = "spin"      // spinning on a lock, interrupts on
	ClassHard      Class = "hard"      // in the kernel with interrupts off
	ClassSoft      Class = "soft"      // in the kernel without scheduling, though somebody waits
	ClassStopped   Class = "stopped"   // not run, or halted for good
	ClassForkstorm Class = "forkstorm" // processes multiply
	ClassThrash    Class = "thrash"    // what is reclaimed is needed again at once
	ClassIO        Class = "io"        // tasks wait for a device that completes nothing
	ClassBlocked   Class = "blocked"   // tasks wait for a sleeping lock
	// ClassMonitor is no hang of the guest: the monitor held it up, noticed, and
	// let go. The session makes this verdict, no rule does.
	ClassMonitor Class = "monitor-livelock"
)

// Scope tells whether all online vCPUs hang or only some.
type Scope string

const (
	Partial Scope = "partial"
	Full    Scope = "full"
)

// Verdict says that the guest hangs, how, and why one should believe it.
type Verdict struct {
	TimeNS   int64 // dom0's monotonic clock
	Class    Class
	VCPUs    []int // nil for the classes that are about tasks or the guest as a whole
	Scope    Scope
	Evidence []string
}

// Recovery says that a hang is over.
type Recovery struct {
	TimeNS int64 // of the observation that made it certain
	Class  Class // of the hang
	HungNS int64 // TimeNS of the hang's first verdict
	CalmNS int64 // first of the observations without any sign of it
}

// level is what a rule makes of the observations so far.
type level int

const (
	blind    level = iota // it cannot tell: what it needs was not observed
	calm                  // nothing points to a hang of its kind
	watching              // something does, but not for long enough
	hung
)

// step is one observation with what came before it.
type step struct {
	t, dt    int64 // dom0's clock, and the time since the last observation
	domain   Domain
	vcpus    []VCPU
	last     []VCPU // as many, of the last observation; Callers are not kept
	online   int
	look     *Kernel
	affected []bool // by vCPU: a rule about vCPUs finds it hung
}

// full reports whether every online vCPU is affected.
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

// queues adds up the run queues of the online vCPUs; ok is false if one of them
// could not be read.
func (s *step) queues() (running uint64, shortest uint64, ok bool) {
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
	return running, shortest, s.online > 0
}

// rule finds hangs of one kind.
type rule interface {
	// restart forgets what was observed: the next observation follows on none.
	restart(vcpus int)
	// observe takes the next step. Once it says hung it does so for as long as the
	// hang lasts. It must not allocate.
	observe(s *step) level
	// verdict says class, vCPUs, scope and evidence after observe has said hung.
	verdict(s *step) Verdict
	// notes appends why there is no verdict.
	notes(to []string) []string
}

// Detector turns observations into verdicts. It has no clock and does no I/O:
// the same observations give the same verdicts.
type Detector struct {
	t      Thresholds
	rules  []rule // by falling severity; the first is the one about panics
	levels []level

	step    step
	last    []VCPU
	queues  []RunQueue // what last[i].Queue points to
	period  int64      // usual time between two observations
	seen    bool       // there was an observation
	unheard string     // why the last observation judged nothing
	unread  []bool     // by vCPU: its run queue was not read at the last observation
	looked  bool       // there was a look at the kernel since the last restart
	boots   bool       // the kernel was booting when it was looked at last
	bootNS  int64      // first look that said so
	ran     bool       // it has been seen running: it does not boot again
	unseen  []string   // what the last look could not read

	hang     Verdict // that goes on; Class is empty if none does
	hungNS   int64   // time of its first verdict
	rule     int     // that found it
	calmNS   int64   // since when no rule sees anything of it
	calms    int     // observations since
	recovery Recovery
}

// minSamples is how many samples in a row must agree before a rule may fire,
// however long they took: one sample is an accident.
const minSamples = 3

// NewDetector returns a detector that has seen nothing yet.
func NewDetector(t Thresholds) *Detector {
	d := &Detector{t: t, rules: []rule{
		&panicRule{}, &spinRule{t: t}, &hardRule{t: t}, &softRule{t: t}, &stoppedRule{t: t},
		&forkstormRule{t: t}, &thrashRule{t: t}, &taskRule{t: t},
	}}
	d.levels = make([]level, len(d.rules))
	return d
}

// Observe takes the next observation. It returns a verdict when a hang begins,
// when the one that goes on becomes worse (a class of higher severity), and when
// it spreads to all vCPUs. While a hang goes on as it was there is no further
// verdict: see Hang and Recovered.
//
// Observations must come in order of time; one from the past is ignored.
func (d *Detector) Observe(o *Observation) (Verdict, bool) {
	d.recovery = Recovery{}
	booting := d.booting(o)
	if len(d.last) != len(o.VCPUs) || !d.seen { // first observation, or vCPUs were plugged
		n := len(o.VCPUs)
		d.last, d.queues = make([]VCPU, n), make([]RunQueue, n)
		d.unread, d.step.affected = make([]bool, n), make([]bool, n)
		d.seen = true
		return d.anew(o, "it was the first observation")
	}
	s := &d.step
	dt := o.TimeNS - s.t
	if dt <= 0 {
		return Verdict{}, false
	}
	gap := dt > int64(d.t.Gap) && d.period != 0 && dt > 4*d.period
	if d.period == 0 {
		d.period = dt
	} else {
		d.period += (min(dt, 8*d.period) - d.period) / 8
	}
	switch {
	case o.Domain.Paused:
		return d.anew(o, "the guest was paused")
	case o.Domain.Shutdown != "":
		return d.anew(o, "the guest has ended itself")
	case gap:
		return d.anew(o, "nothing was observed for a time")
	case booting:
		return d.anew(o, "the guest boots")
	}
	d.unheard = ""
	d.take(o, dt)
	worst := -1
	for i, r := range d.rules {
		d.levels[i] = r.observe(s)
		if d.levels[i] == hung && worst < 0 {
			worst = i
		}
	}
	v, report := d.judge(worst)
	d.keep(o)
	return v, report
}

// booting reports whether the guest boots, and has not done so for too long. A
// kernel that starts has interrupts off for longer than any that runs may, and
// waits for devices in loops; whoever never gets through is judged after all.
func (d *Detector) booting(o *Observation) bool {
	if k := o.Kernel; k != nil && k.Phase != "" {
		boots := k.Phase == PhaseBooting && !d.ran
		if boots && !d.boots {
			d.bootNS = o.TimeNS
		}
		d.boots, d.ran = boots, d.ran || k.Phase == PhaseRunning
	}
	return d.boots && o.TimeNS-d.bootNS < int64(d.t.Boot)
}

// anew takes an observation that has no usable one before it. A panic needs none.
func (d *Detector) anew(o *Observation, why string) (Verdict, bool) {
	d.unheard = why
	d.take(o, 0)
	for i, r := range d.rules {
		r.restart(len(o.VCPUs))
		d.levels[i] = blind
	}
	d.looked, d.calms = false, 0
	var v Verdict
	report := false
	if !o.Domain.Paused {
		if d.levels[0] = d.rules[0].observe(&d.step); d.levels[0] == hung {
			v, report = d.judge(0)
		}
	}
	d.keep(o)
	return v, report
}

func (d *Detector) take(o *Observation, dt int64) {
	s := &d.step
	s.t, s.dt, s.domain, s.vcpus, s.last, s.look = o.TimeNS, dt, o.Domain, o.VCPUs, d.last, o.Kernel
	clear(s.affected)
	s.online = 0
	for i := range o.VCPUs {
		if o.VCPUs[i].Online {
			s.online++
		}
	}
}

// keep copies what the next observation is compared with: the caller may use its
// memory again.
func (d *Detector) keep(o *Observation) {
	for i := range o.VCPUs {
		v := &d.last[i]
		*v = o.VCPUs[i]
		v.Callers = nil
		d.unread[i] = v.Online && v.Queue == nil
		if v.Queue != nil {
			d.queues[i] = *v.Queue
			v.Queue = &d.queues[i]
		}
	}
	if o.Kernel != nil {
		d.looked = true
		d.unseen = append(d.unseen[:0], o.Kernel.Unreadable[:min(len(o.Kernel.Unreadable), 8)]...)
	}
	d.step.vcpus, d.step.look = nil, nil
}

// judge makes of the levels what is to be reported; worst is the first rule that
// finds the guest hung, or -1.
func (d *Detector) judge(worst int) (Verdict, bool) {
	s := &d.step
	none := d.hang.Class == ""
	spread := worst >= 0 && worst == d.rule && d.hang.Scope == Partial && d.hang.VCPUs != nil && s.full()
	if worst >= 0 && (none || worst < d.rule || spread) {
		v := d.rules[worst].verdict(s)
		v.TimeNS = s.t
		if none {
			d.hungNS = s.t
		}
		d.hang, d.rule, d.calms = v, worst, 0
		return v, true
	}
	if none {
		return Verdict{}, false
	}
	if d.levels[d.rule] != calm {
		d.calms = 0
		return Verdict{}, false
	}
	if d.calms == 0 {
		d.calmNS = s.t
	}
	d.calms++
	if d.calms >= minSamples && s.t-d.calmNS >= int64(d.t.Recovered) {
		d.recovery = Recovery{TimeNS: s.t, Class: d.hang.Class, HungNS: d.hungNS, CalmNS: d.calmNS}
		d.hang, d.calms = Verdict{}, 0
	}
	return Verdict{}, false
}

// Hang returns the verdict on the hang that goes on, if one does.
func (d *Detector) Hang() (Verdict, bool) { return d.hang, d.hang.Class != "" }

// Recovered reports the end of a hang, if the last observation has shown it: the
// rule that found it has seen nothing of it for Thresholds.Recovered. After that
// the next hang gives a verdict again, and so does one of another class that
// still goes on.
func (d *Detector) Recovered() (Recovery, bool) { return d.recovery, d.recovery.Class != "" }

// Doubts reports whether the last observation showed the vCPU halted though it had
// something to do, or without a timer that will wake it: a healthy CPU hardly ever
// sleeps so, but its timer interrupt's handler takes the timer out first. Its
// registers tell whether it is idle, stopped, or waits for a paravirtualised lock.
func (d *Detector) Doubts(vcpu int) bool {
	for _, r := range d.rules {
		if r, ok := r.(*stoppedRule); ok && vcpu < len(r.rows) {
			row := &r.rows[vcpu]
			return row.overdue.samples > 0 || row.waiting.samples > 0 || row.timerless
		}
	}
	return false
}

// Undecided says why there is no verdict: for each vCPU and rule what the last
// observation made of it, and what could not be read. It is the evidence of a
// miss.
func (d *Detector) Undecided() []string {
	var notes []string
	if d.unheard != "" {
		notes = append(notes, "nothing was judged: "+d.unheard)
	}
	for _, r := range d.rules {
		notes = r.notes(notes)
	}
	for i, unread := range d.unread {
		if unread {
			notes = append(notes, fmt.Sprintf("unreadable: run queue of vCPU %d: soft only after a long silence, stopped and forkstorm hardly", i))
		}
	}
	if d.seen && !d.looked {
		notes = append(notes, "unreadable: the kernel as a whole: no blocked, io, forkstorm, thrash")
	}
	for _, what := range d.unseen {
		notes = append(notes, "unreadable: "+what)
	}
	return notes
}

// reason is why a row of samples ended, written out only when asked for.
type reason struct {
	text   string
	n      uint64
	symbol string
}

// Texts of a reason; those with a verb take its number or its symbol.
const (
	becauseSwitched  = "it switched tasks %d times"
	becauseHalted    = "it was halted"
	becauseUnsampled = "its registers were not read"
	becauseUser      = "it ran outside the kernel"
	becauseUnrun     = "it did not run"
	becauseIn        = "it was in %s"
	becauseIdle      = "it was idle in %s"
	becauseIF        = "interrupts were on in %s"
	becauseIRQ       = "it took %d interrupts"
	becauseMany      = "it was in many functions, now in %s"
	becauseAlone     = "no other task waited for it"
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

// alive returns the sign of life that a vCPU gave between two observations, by
// which it cannot be in one and the same piece of kernel code; the zero reason if
// it gave none and was sampled in the kernel.
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

// switched returns how often the vCPU is known to have switched tasks. The
// mechanism misses some; the guest's own count does not.
func switched(now, was *VCPU) uint64 {
	if n := now.Signals - was.Signals; n != 0 {
		return n
	}
	if now.Queue != nil && was.Queue != nil {
		return now.Queue.Switches - was.Queue.Switches
	}
	return 0
}

// interrupted returns how many interrupts the vCPU has handled; known is false if
// the guest's count was not read.
func interrupted(now, was *VCPU) (n uint64, known bool) {
	if now.Queue == nil || was.Queue == nil || now.Queue.Interrupts == 0 || was.Queue.Interrupts == 0 {
		return 0, false
	}
	return now.Queue.Interrupts - was.Queue.Interrupts, true
}

// inKernel reports whether the vCPU was sampled in the kernel: in a function of
// it, or elsewhere in the upper half of the address space (a module).
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

// few is a set of names that overflows.
type few struct {
	names [8]string
	n     int
}

// add reports whether the set still holds all that was added.
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

// entryCode reports whether a function belongs to the way into the kernel or out
// of it (arch/x86/entry, kernel/entry), which runs with interrupts off and is
// where a task that does nothing but system calls is often seen.
func entryCode(symbol string) bool {
	for _, prefix := range [...]string{"entry_", "asm_", "exc_", "syscall_", "irqentry_", "exit_to_user", "do_syscall_", "x64_sys_call",
		"error_entry", "error_return", "paranoid_", "swapgs_", "ret_from_fork", "common_interrupt_return", "restore_", "native_irq_return", "sysvec_"} {
		if strings.HasPrefix(symbol, prefix) {
			return true
		}
	}
	return false
}

// idleCode reports whether a function belongs to the idle loop, in which a CPU
// that polls instead of halting may stay for ever.
func idleCode(symbol string) bool {
	switch bare(symbol) {
	case "default_idle", "default_idle_call", "do_idle", "cpu_idle_poll", "poll_idle", "native_safe_halt", "pv_native_safe_halt",
		"arch_cpu_idle", "mwait_idle", "xen_safe_halt", "cpu_startup_entry":
		return true
	}
	return strings.HasPrefix(symbol, "cpuidle_") || strings.HasPrefix(symbol, "acpi_idle") || strings.HasPrefix(symbol, "intel_idle")
}
