// Package misses measures how many of a guest's task switches a monitor misses.
//
// The guest's kernel counts its switches itself, in each run queue (rq.nr_switches). A
// session reads these counts when its trap is set and when it is removed, with the guest
// paused, and counts its own signals in between (monitor.Counters). The difference is the
// number of missed switches. [Measure] takes both for one mechanism twice: with a trap that
// stops a vCPU at every switch, and with the default limit, where the trap stops each vCPU
// a few times in a sampling period and is then open until the next period.
//
// The two counts are not taken at the same instruction: the kernel counts a switch some way
// before it calls the trapped function. A vCPU on that way when the trap is set gives a
// signal for a switch that was counted before. A vCPU on it when the trap is removed is
// counted and gives no signal. So for a mechanism that misses nothing the two counts may
// differ by [Edge] either way.
//
// The package measures by interfaces; bench/price implements them on Xen.
package misses
