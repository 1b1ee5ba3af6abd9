package detect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SharedThresholds are the limits that apply to every rule.
type SharedThresholds struct {
	// Gap is the time between two observations from which on they are not compared:
	// every rule restarts. The time must also be four times the usual one.
	Gap time.Duration
	// Boot is how long a kernel may boot: from the first observation that shows it
	// booting to its first process. Until then only a panic is a hang. A kernel boots
	// in seconds, on a slow host in tens of seconds.
	Boot time.Duration
	// Recovered is how long a hang must show no sign before it is over.
	Recovered time.Duration
}

func (t *SharedThresholds) knobs() []knob {
	return []knob{
		milliseconds(&t.Gap, "gap_ms", 1000, "time without an observation after which every rule restarts"),
		milliseconds(&t.Boot, "boot_ms", 60_000, "time for the guest to boot; until then only a panic is a hang"),
		milliseconds(&t.Recovered, "recovered_ms", 1000, "time without a sign of the hang after which it is over"),
	}
}

// Detector turns observations into verdicts. It has no clock and does no I/O:
// the same observations give the same verdicts. It is not safe for concurrent use.
type Detector struct {
	t       Thresholds
	entries []entry
	rules   []rule  // of the entries, the most severe first
	levels  []level // of the rules, at the last observation

	step      step
	last      []VCPU     // the last observation, without Callers
	queues    []RunQueue // that last[i].Queue points to
	period    int64      // usual time between two observations, ns; 0 if unknown
	seen      bool       // there was an observation
	skipped   string     // why the last observation was not judged
	unread    []bool     // by vCPU: the last observation lacks its run queue
	inspected bool       // there was an Observation.Kernel since the last restart
	boots     bool       // the kernel was booting when it was inspected last
	bootNS    int64      // time of the first inspection that showed it booting
	ran       bool       // the kernel was seen running: it does not boot again
	unseen    []string   // what the last inspection could not read
	unjudged  []Unjudged // classes that cannot be judged, by the last inspection

	hang     Verdict // that goes on; Class is empty if there is none
	hungNS   int64   // time of its first verdict
	rule     int     // that found it
	calmNS   int64   // first of the observations in a row without a sign of it
	calms    int     // number of these
	recovery Recovery
}

// maxUnjudged bounds the classes that cannot be judged: there are not as many classes.
const maxUnjudged = 32

// minSamples is the number of samples in a row that a rule needs for a verdict,
// however long they took. One sample may be chance.
const minSamples = 3

// NewDetector returns a detector without any observation.
func NewDetector(t Thresholds) *Detector {
	d := &Detector{t: t}
	d.entries = d.t.entries()
	for _, e := range d.entries {
		d.rules = append(d.rules, e.start())
	}
	d.levels = make([]level, len(d.rules))
	return d
}

// Observe takes the next observation. It returns a verdict in three cases: a hang
// begins, the hang that goes on becomes one of a more severe class, or the hang
// spreads to all vCPUs. It returns none while a hang goes on unchanged: see
// Recovered for its end.
//
// Observations must come in order of time. Observe ignores one that is not later
// than the last.
func (d *Detector) Observe(o *Observation) (Verdict, bool) {
	d.recovery = Recovery{}
	booting := d.booting(o)
	if len(d.last) != len(o.VCPUs) || !d.seen { // the first observation, or vCPUs were added
		n := len(o.VCPUs)
		d.last, d.queues = make([]VCPU, n), make([]RunQueue, n)
		d.unread = make([]bool, n)
		d.step.affected, d.step.doubted = make([]bool, n), make([]bool, n)
		d.seen = true
		return d.restart(o, "it was the first observation")
	}
	s := &d.step
	dt := o.TimeNS - s.t
	if dt <= 0 {
		return Verdict{}, false
	}
	gap := d.gap(dt)
	switch {
	case o.Domain.Paused:
		return d.restart(o, "the guest was paused")
	case o.Domain.Shutdown != "":
		return d.restart(o, "the guest has shut down")
	case gap:
		return d.restart(o, "there was a gap in the observations")
	case booting:
		return d.restart(o, "the guest boots")
	}
	d.skipped = ""
	d.take(o, dt)
	for i, r := range d.rules {
		d.levels[i] = d.allowed(r, r.observe(s))
	}
	v, report := d.judge()
	d.keep(o)
	return v, report
}

// gap reports whether dt, the time since the last observation, is too long to
// compare the two. It then updates the usual time, an exponential average of
// weight 1/8 in which one gap counts as at most eight times the usual time.
func (d *Detector) gap(dt int64) bool {
	if d.period == 0 {
		d.period = dt
		return false
	}
	gap := dt > int64(d.t.Gap) && dt > 4*d.period
	d.period += (min(dt, 8*d.period) - d.period) / 8
	return gap
}

// booting reports whether the guest boots, and has not done so for longer than
// Thresholds.Boot. A kernel that boots has interrupts off for long and waits for
// devices in loops.
func (d *Detector) booting(o *Observation) bool {
	if k := o.Kernel; k != nil && k.Phase != "" {
		boots := k.Phase == PhaseBooting && !d.ran
		if !d.boots {
			d.bootNS = o.TimeNS
		}
		d.boots, d.ran = boots, d.ran || k.Phase == PhaseRunning
	}
	return d.boots && o.TimeNS-d.bootNS < int64(d.t.Boot)
}

// restart takes an observation that cannot be compared with the one before it.
// Only rules that can judge a single observation judge it.
func (d *Detector) restart(o *Observation, why string) (Verdict, bool) {
	d.skipped = why
	d.take(o, 0)
	d.inspected, d.calms = false, 0
	for i, r := range d.rules {
		r.restart(len(o.VCPUs))
		d.levels[i] = blind
		if d.entries[i].single && !o.Domain.Paused {
			d.levels[i] = d.allowed(r, r.observe(&d.step))
		}
	}
	var v Verdict
	report := false
	if slices.Contains(d.levels, hung) {
		v, report = d.judge()
	}
	d.keep(o)
	return v, report
}

// allowed returns the level of a rule, and blind if it finds a hang of a class that
// cannot be judged in this guest.
func (d *Detector) allowed(r rule, l level) level {
	if l != hung || len(d.unjudged) == 0 {
		return l
	}
	class := r.verdict(&d.step).Class
	if slices.ContainsFunc(d.unjudged, func(u Unjudged) bool { return u.Class == class }) {
		return blind
	}
	return l
}

// take makes the step of an observation and of the one before it.
func (d *Detector) take(o *Observation, dt int64) {
	if o.Kernel != nil {
		d.unjudged = append(d.unjudged[:0], o.Kernel.Unjudged[:min(len(o.Kernel.Unjudged), maxUnjudged)]...)
	}
	s := &d.step
	s.t, s.dt, s.domain, s.vcpus, s.last, s.kernel = o.TimeNS, dt, o.Domain, o.VCPUs, d.last, o.Kernel
	clear(s.affected)
	clear(s.doubted)
	s.online = 0
	for i := range o.VCPUs {
		if o.VCPUs[i].Online {
			s.online++
		}
	}
}

// keep copies what the next observation is compared with. The caller may reuse
// the memory of o afterwards.
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
		d.inspected = true
		d.unseen = append(d.unseen[:0], o.Kernel.Unreadable[:min(len(o.Kernel.Unreadable), 8)]...)
	}
	d.step.vcpus, d.step.kernel = nil, nil
}

// judge decides what to report.
func (d *Detector) judge() (Verdict, bool) {
	s := &d.step
	worst := slices.Index(d.levels, hung) // -1 if no rule finds the guest hung
	none := d.hang.Class == ""
	spread := worst == d.rule && d.hang.Scope == Partial && s.full()
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

// Recovered returns the end of a hang, if the last observation has shown it: the
// rule that found the hang has seen no sign of it for Thresholds.Recovered. After
// that the next hang gives a verdict again, and so does a hang of another class
// that still goes on.
func (d *Detector) Recovered() (Recovery, bool) { return d.recovery, d.recovery.Class != "" }

// Doubts reports whether the last observation showed the vCPU halted with runnable
// tasks, past its timer, or without a timer. This is rare in a healthy guest; it
// happens inside the timer interrupt. The caller should read the vCPU's registers
// for the next observation. They tell whether the vCPU is idle, stopped, or waits
// for a paravirtualised lock.
func (d *Detector) Doubts(vcpu int) bool {
	return vcpu < len(d.step.doubted) && d.step.doubted[vcpu]
}

// Undecided explains why there is no verdict. It says for each vCPU and rule what
// the observations so far have shown, and what could not be read. It is the evidence of
// a miss.
func (d *Detector) Undecided() []string {
	var notes []string
	if d.skipped != "" {
		notes = append(notes, "nothing was judged: "+d.skipped)
	}
	for _, u := range d.unjudged {
		notes = append(notes, fmt.Sprintf("%s cannot be judged: %s", u.Class, u.Why))
	}
	for _, r := range d.rules {
		notes = r.notes(notes)
	}
	for i, unread := range d.unread {
		if unread {
			notes = append(notes, fmt.Sprintf("unreadable: run queue of vCPU %d: hard to find %s", i,
				d.classes(func(c *class) bool { return c.needsQueue })))
		}
	}
	if d.seen && !d.inspected {
		notes = append(notes, "unreadable: the kernel as a whole: cannot find "+
			d.classes(func(c *class) bool { return c.needsKernel }))
	}
	for _, what := range d.unseen {
		notes = append(notes, "unreadable: "+what)
	}
	return notes
}

// classes names the classes that pick selects.
func (d *Detector) classes(pick func(*class) bool) string {
	var names []string
	for _, e := range d.entries {
		for i := range e.classes {
			if pick(&e.classes[i]) {
				names = append(names, string(e.classes[i].Class))
			}
		}
	}
	return strings.Join(names, ", ")
}
