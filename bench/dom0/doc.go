// Package dom0 runs trials in a Xen control domain: it makes a guest and gives a trial
// everything that it needs to run on it.
//
// A Host is the control domain, a Guest a guest that is open. guests/xl makes the guest,
// bench/dom0/heartbeat reads its heartbeat, guests/kernel names its symbols,
// monitor/driver reaches it, and bench/trial runs. In the lab bench/agent uses the
// package as dom0's first process; on a real Xen host the runner uses it directly.
//
// Which file does what:
//
//	host.go         the control domain
//	guest.go        open guests, their drivers, attaching a monitor
//	memory.go       the kernel of a guest whose kernel file is not known
//	make.go         making a guest; kernel.go moves its kernel
//	machine.go      the guest as a machine in which faults are injected
//	environment.go  one trial: Guest.Run; group.go, trace.go and console.go serve it
//
// bench/dom0/recovery brings a guest back whose monitor was killed, bench/price measures
// monitors, and bench/dom0/dom0test has a control domain in memory for tests.
package dom0
