// Package trial runs one trial: one guest, one mechanism, one fault, once.
//
// It runs inside dom0 (bench/agent in the lab, the runner itself on a real Xen
// host) and is the only package that sees the guest, the monitor and the
// injector together:
//
//	ready → workload → window without monitor → attach → window with monitor
//	  → inject (T0) → verdict or deadline → ground truth → lift → recovered?
//	  → all-clear → detach → does the guest still make progress? → record
//
// A bounded fault is lifted after its time, with or without a verdict, and the
// trial goes on to watch for one that comes too late.
//
// A control that measures a workload has windows of its own instead, with the
// monitor off, on, on and off, in each of which the guest does the work from
// beginning to end.
//
// A control takes the same way without the injection. Ground truth comes from
// the guest's own heartbeat (guests/beat), never from the monitor. A trial whose
// ground truth is not confirmed ends as invalid, with the reason in one
// sentence, whatever the monitor said.
package trial
