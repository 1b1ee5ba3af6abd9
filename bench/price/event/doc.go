// Package event measures the price of an event: what it costs a guest and dom0
// that a monitor is told of something the guest did and answers.
//
// [Measure] compares two loops that answer the same events in the same way: the
// project's own (monitor.Session) and the yardstick, a minimal C loop on Xen's
// libraries (bench/price/yardstick). They run in alternation on one busy guest,
// with windows without any monitor around them:
//
//	baseline  ours  yardstick  yardstick  ours  baseline
//
// is one block. What drifts falls on both sides alike, and their ratio is taken
// within blocks. What is reported of each side:
//
//	total       time from one event to the next, guest's work included
//	stolen      the same without the guest's own work: work done in the window,
//	            each unit valued at what it took in the baseline windows
//	dom0        time dom0's vCPUs ran (Xen's account of it, which holds the
//	            hypercalls that dom0 makes)
//
// In the lab an instruction takes one cycle of the time-stamp counter, whatever
// it does, so times are instruction counts and exact. On a real host they are
// times, and the rows say so by the name of the host.
//
// [Split] takes one event apart, from the records of Xen's trace and the
// instants at which the monitor woke and slept; see [Parts].
//
// The package measures by interfaces; bench/dom0 has them on Xen.
package event
