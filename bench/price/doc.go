// Package price measures monitors on a guest of this dom0: what an event costs, what
// reading guest memory costs, and how many task switches a monitor misses.
//
// bench/price/event and bench/price/misses say what is measured and compute the
// results; they know the guest by interfaces. This package implements those on Xen.
// [EventJob] and [MissesJob] are the measurements as requests, which the lab's agent
// runs too. bench/price/tables renders their reports.
package price
