// Command init is the guest's PID 1: a static program that is the whole userland
// of a guest made for a trial. guests/lab puts it into the guest's initramfs.
//
// It mounts the pseudo file systems, shares one page with dom0 (guests/beat), starts
// one heartbeat process on each vCPU, and publishes the page's frame number in
// xenstore. Then it runs the workload that dom0 wants, and does its requests.
//
// The program has many parts, selected by its first argument:
//
//	init              PID 1: supervise
//	init beat CPU     heartbeat of one vCPU
//	init WORKLOAD CPU workload of one vCPU, by its name in guests/beat
//	init echo         partner of the busy workload, at the other end of two pipes
//	init pass CPU     take and release a mutex, once
//	init bomb         a fork bomb
//	init hog          a process that leaves too little memory to the others
//	init realtime     a process that computes as a real-time task
//	init eater        a process that uses up memory until the kernel kills it
//	init pat          a process that arms Xen's domain watchdog again and again
//	init grace CPU    a process that makes RCU begin a grace period once a second
//	init hoard        a process that keeps files which take the others' memory
//	init compile N F  a program of the workload build
//	init serve        a server of a file system (FUSE)
//	init measure RUN  one run of a measured workload (guests/stress)
//
// All workloads, requests and parts are listed in list.go; each has a file of its
// own.
//
// Parts are processes and not goroutines, pinned before they start. A vCPU that
// hangs then stops its own heartbeat only, and never another's through the Go
// scheduler.
package main
