// Package trial runs one trial: one guest, one way of watching it, one scenario, once.
//
// It runs inside dom0 (bench/agent in the lab, the program itself on a real Xen host).
// It is the only package that sees the guest, the injector and whoever watches
// together. It knows them by small interfaces: Host, Guest and Log (env.go), and
// Observer (observer.go). Those who watch are in bench/observe.
//
// A trial is a list of steps (steps.go):
//
//	workload         the guest runs the scenario's workload
//	attach observers those that watch for the whole trial
//	baseline         a window without the Watcher, for its price
//	attach, observe  the Watcher, and a window with it
//	inject           the fault lands: T0
//	                 until the Watcher's verdict or the deadline, while the guest's own
//	                 counters must show the hang (scenarios/sign)
//	await observers  until those beside have had their time
//	remove           the fault is removed
//	                 until the guest goes on, and the Watcher says so
//	detach           the Watcher
//	                 the guest must go on without it
//
// A control has no fault; it may be disturbed instead. A bounded fault is removed after
// its time, verdict or not, and a verdict that comes when all is over is a false alarm.
// A scenario that measures a workload has four windows with the Watcher off, on, on and
// off instead, in each of which the guest does the same work.
//
// A fault of unknown effect (scenarios.NotKnown) is followed to the deadline, whatever the
// observer reports: the guest's parts say what became of it (scenarios/outcome). Canaries
// run beside the workload then, and PID 1 is probed (unknown.go).
//
// However a trial ends, an undo stack removes the fault and detaches every observer, the
// last first.
//
// Ground truth comes from the guest's own heartbeat and work (guests/beat), never from
// an observer. A trial whose ground truth is not confirmed is invalid, whatever the
// observer reported, and the record says why in one sentence (InvalidError).
package trial
