// Package detect turns observations of a guest into verdicts.
//
// A Detector is a pure function of the Observations that it gets. It has no
// clock, does no I/O, and does not know the monitor's mechanism. monitor.Session
// makes the observations and delivers the verdicts; monitor/linux reads the
// guest's kernel.
//
// A Detector holds a list of rules. Each rule has a file of its own with its
// classes, their severity, its thresholds, the texts for List, and its state.
// rules.go lists the rules. A new rule needs its file and two lines in rules.go.
//
// A rule decides early on strong evidence: the same lock, interrupts off, a
// waiting task. It decides late on silence alone. The first verdict is reported.
// If one observation gives several, the most severe class is reported (see
// Info.Severity). List gives the order.
//
// Some observations are not judged and restart every rule: the guest was paused,
// has shut down or boots, or there is a gap in the observations
// (SharedThresholds.Gap). Only the rule about panics judges these.
//
// The scope of a verdict is full if every online vCPU hangs, by any of the rules
// about vCPUs. The class starvation is one of those: for the threads that wait for it,
// the vCPU hangs. Other rules about threads name no vCPU. The classes io and blocked are
// always partial: some threads wait, others still run. The class forkstorm is full if
// all run queues are long, with the threads that wait for a lock. The class thrash is
// always full, because every allocation waits.
package detect
