// Package dom0 is the part of the bench that runs in the control domain: it
// makes a guest and gives a trial everything it needs to run on it.
//
// It is where the drivers are wired: guests/xl makes the guest, guests/beat is
// its heartbeat, guests/kernel names its symbols, cgo/xenctrl reaches it, and
// bench/trial runs. In the lab bench/agent calls it as dom0's PID 1; on a real
// Xen host the runner calls it directly.
package dom0
