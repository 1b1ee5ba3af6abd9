package monitor

import (
	"time"

	"hangbench/monitor/trap"
)

// budget bounds how often the trap stops each vCPU in a sampling period. The unit
// is a pass: one execution of a function on the trapped page.
//
// A vCPU that hangs in a guest which gets little time would do hardly anything else: two
// passes through the handler of each tick take a few milliseconds, and that may be all
// that it runs in a period. Then no sample shows where it hangs. So a vCPU that neither
// switches tasks nor halts has new passes only when it has run for leastRun since it had
// some. Until then its first stop in a period opens the trap. Its run queue tells when it
// switches tasks again.
type budget struct {
	passes   int    // in a sampling period; negative means no limit
	maxStops int    // bound of vcpuBudget.limit
	leastRun uint64 // ns
	vcpus    []vcpuBudget
}

// runShare is the part of a sampling period, one in so many, that is budget.leastRun. A
// vCPU that shares a physical CPU with three others runs for longer.
const runShare = 5

// vcpuBudget is the state of one vCPU.
type vcpuBudget struct {
	used  int // passes in this sampling period
	stops int // stops since the last pass began, or since the limit was last reached
	limit int // stops that end the vCPU's turn; see charge
	// signalled: the vCPU gave a signal in this sampling period, or none is expected.
	signalled bool
	ranNS     uint64 // time that the vCPU has run
	renewedNS uint64 // the same when it last had new passes
	stuck     bool   // it neither switches tasks nor halts
}

func newBudget(vcpus, passes, maxStops int, period time.Duration) *budget {
	if passes == 0 {
		passes = DefaultPasses
	}
	if maxStops == 0 {
		maxStops = trap.DefaultMaxStops
	}
	b := &budget{passes: passes, maxStops: maxStops, leastRun: uint64(period) / runShare, vcpus: make([]vcpuBudget, vcpus)}
	for i := range b.vcpus {
		b.vcpus[i].limit = trap.LongPass
	}
	return b
}

// charge charges one stop to the vCPU's budget and reports whether the trap may stay
// closed for it in this sampling period. If start is set, the stop begins a new pass.
// A pass that reaches its limit ends the vCPU's turn for this period; its limit then
// doubles, up to maxStops, so that a vCPU whose first function on the page is long is
// still observed eventually. A new pass has the limit trap.LongPass again.
func (b *budget) charge(vcpu int, start bool) bool {
	v := &b.vcpus[vcpu]
	v.stops++
	switch {
	case start:
		v.stops, v.limit = 0, trap.LongPass
		v.used++
	case v.stops >= v.limit:
		v.stops, v.limit = 0, min(2*v.limit, b.maxStops)
		v.used = max(v.used, b.passes)
	}
	return b.passes < 0 || v.used < b.passes
}

// signal notes a signal of the vCPU.
func (b *budget) signal(vcpu int) { b.vcpus[vcpu].signalled = true }

// expect sets whether a signal of the vCPU is expected in the sampling period that
// begins.
func (b *budget) expect(vcpu int, signal bool) { b.vcpus[vcpu].signalled = !signal }

// mayOpen reports whether a trap that all vCPUs share may be opened until the next
// sample: every vCPU has signalled, or is not expected to, or one of them has used
// four times its budget and the others must wait. A single vCPU always qualifies: a
// higher budget would slow down a guest whose every system call enters the page.
func (b *budget) mayOpen() bool {
	if len(b.vcpus) == 1 {
		return true
	}
	most, all := 0, true
	for _, v := range b.vcpus {
		all = all && v.signalled
		most = max(most, v.used)
	}
	return all || most >= 4*b.passes
}

// observe notes how long a vCPU has run so far, and whether it neither switches tasks nor
// halts.
func (b *budget) observe(vcpu int, ranNS uint64, stuck bool) {
	b.vcpus[vcpu].ranNS, b.vcpus[vcpu].stuck = ranNS, stuck
}

// newPeriod begins a sampling period: no vCPU has used a pass yet, but for those that are
// stuck and have hardly run, which have used all of theirs.
func (b *budget) newPeriod() {
	for i := range b.vcpus {
		v := &b.vcpus[i]
		if v.stuck && v.ranNS-v.renewedNS < b.leastRun {
			v.used = min(v.used, max(b.passes, 0))
			continue
		}
		v.used, v.renewedNS = 0, v.ranNS
	}
}
