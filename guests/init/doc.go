// Command init is the guest's PID 1: a static program that is the whole
// userland of a guest made for a trial.
//
// It mounts the pseudo file systems, shares one page with dom0 (guests/beat),
// starts one heartbeat process on every vCPU, publishes the page's frame
// number in xenstore, and from then on runs the workload and the errands that
// dom0 asks for. guests/image packs it into the guest's initramfs.
//
// It plays many parts, told apart by its first argument:
//
//	init              PID 1: set up, announce, start and stop workers, run errands
//	init beat CPU     heartbeat of one vCPU
//	init WORKLOAD CPU workload of one vCPU, by its name in guests/beat
//	init echo         the busy worker's partner at the other end of two pipes
//	init pass CPU     take and leave a mutex, once
//	init bomb         a fork bomb
//	init hog          a process that leaves the others too little memory
//	init pat          a process that pats Xen's domain watchdog
//	init measure RUN  one run of a workload that is measured (guests/stress)
//
// Parts are processes, not goroutines, pinned before they start: a vCPU that
// hangs then takes only its own heartbeat with it, never another's by way of
// the Go scheduler.
package main
