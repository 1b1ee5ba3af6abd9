// Command init is the guest's PID 1: a static program that is the whole
// userland of a guest made for a trial.
//
// It mounts the pseudo file systems, shares one page with dom0 (guests/beat),
// starts one heartbeat process on every vCPU, publishes the page's frame
// number in xenstore, and from then on runs the workload that dom0 asks for.
// guests/image packs it into the guest's initramfs.
//
// It plays four parts, told apart by its first argument:
//
//	init              PID 1: set up, announce, start and stop workers
//	init beat CPU     heartbeat of one vCPU
//	init work CPU     busy workload of one vCPU
//	init echo         the worker's partner at the other end of two pipes
//
// Parts are processes, not goroutines, pinned before they start: a vCPU that
// hangs then takes only its own heartbeat with it, never another's by way of
// the Go scheduler.
package main
