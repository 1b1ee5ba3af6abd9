// Package misses measures how many of a guest's task switches a monitor misses.
//
// The guest's kernel counts its switches itself, in each run queue
// (rq.nr_switches); a session reads those counts when its trap is set and when it
// is taken back, with the guest paused, and counts its own signals meanwhile
// (monitor.Counters). What is missing is what the mechanism missed. [Measure]
// takes both for one mechanism twice: with a trap that stops a vCPU at every
// switch, and as monitors run by default, where the trap stops each vCPU a few
// times in a sampling period and then lets go until the next.
//
// The two counts are not taken at the same instruction: the kernel counts a
// switch some way before the function that is trapped. A vCPU on that way when
// the trap is set gives a signal for a switch that was counted before, and one on
// it when the trap is taken back is counted and gives none. So a mechanism that
// misses nothing may be off by [Edge] either way.
//
// The package measures by interfaces; bench/dom0 has them on Xen.
package misses
