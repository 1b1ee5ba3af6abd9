// Package dom0 is the part of the bench that runs in the control domain: it
// makes a guest and gives a trial everything it needs to run on it.
//
// It is where the drivers are wired: guests/xl makes the guest, guests/beat is
// its heartbeat, guests/kernel names its symbols, cgo/xenctrl reaches it, and
// bench/trial runs. In the lab bench/agent calls it as dom0's PID 1; on a real
// Xen host the runner calls it directly.
//
// It also has what an operator needs of a guest that is there already:
// Host.OpenGuest and Guest.Watch monitor it, Host.Recover brings it back after a
// monitor that was killed, and Host.Kill proves that it does. What a session
// changes in a guest stands in a journal in xenstore (JournalNode) from before
// the first change until the guest is let go in order, so a journal whose process
// is dead means a guest to recover. Two things no journal helps against: a
// monitor that is stopped, or gets no CPU, holds each vCPU at its next event
// until it goes on; and of a frame that int3-altp2m has added and not yet written
// down when it is killed the guest keeps the 4 KiB.
package dom0
