// Package detect turns observations of a guest into verdicts.
//
// A Detector is a pure function of the Observations it is given: no clock, no
// I/O, no knowledge of the mechanism. monitor.Session makes the observations
// (monitor/linux reads what they hold of the guest's kernel) and delivers the
// verdicts. Every threshold of every rule is in Thresholds, and List describes
// the rules.
//
// A Detector holds a list of rules, each in a file of its own and with a state of
// its own. Early rules need strong evidence and little time: the same lock, the
// interrupts off, somebody waiting. Late rules need little but silence, and a
// long time of it. The first verdict wins; of several in one observation, the one
// whose rule stands first in the order of severity: panic, spin, hard, soft,
// stopped, forkstorm, thrash, io and blocked.
//
// Some observations judge nothing and let every rule begin anew, because what
// they would measure is not the guest: the toolstack has paused it, or the
// observations themselves have a gap (Thresholds.Gap).
//
// A verdict's scope is full if every online vCPU is affected, by whichever of the
// rules about vCPUs. Rules about tasks name no vCPU: io and blocked are always
// partial, because a guest of which some threads wait still serves others;
// forkstorm is full if all run queues are long, and thrash, for which every
// allocation waits, always is.
package detect
