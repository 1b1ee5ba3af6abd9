// Package event measures the price of an event: the time that guest and dom0 spend when
// Xen reports to a monitor what the guest did, and the monitor answers.
//
// [Measure] compares two loops that answer the same events in the same way: the project's
// own (monitor.Session) and the yardstick, a minimal C loop on Xen's libraries
// (bench/price/yardstick). They run in alternation on one busy guest, with windows without
// any monitor around them:
//
//	baseline  ours  yardstick  yardstick  ours  baseline
//
// is one block. A drift of the machine affects both sides alike, and their ratio is taken
// within blocks. For each side the report has:
//
//	total       time from one event to the next, including the guest's work
//	stolen      the same without the guest's own work: the units of work done in the
//	            window, times the time of a unit in the baseline windows
//	dom0        time for which dom0's vCPUs ran. Xen accounts it, and it includes the
//	            hypercalls that dom0 makes
//
// In the lab every instruction takes one cycle of the time-stamp counter, so times are
// instruction counts and exact. On a real host they are times. The rows name the host.
//
// [Split] divides one event into parts (see [Parts]), from the records of Xen's trace and
// the instants at which the monitor woke up and went to sleep.
//
// The package measures by interfaces; bench/price implements them on Xen.
package event
