// Package recovery keeps a journal of what a monitor changes in a guest, and
// brings a guest back whose monitor was killed.
//
// A session's journal stands in xenstore (JournalNode) from before its first change
// until it has detached. A journal whose process is dead therefore belongs to a
// guest that has to be recovered. [Host.Attach] attaches a monitor with a journal,
// [Watch] runs one until it is told to end, [Host.Recover] undoes what a dead one
// left, and [Host.Kill] kills monitors at random instants to prove that this works.
//
// Two cases cannot be repaired. A monitor that is stopped, or gets no CPU, blocks
// each vCPU at its next event until it goes on. And if a monitor is killed between
// adding a frame to the guest and writing that down, the guest keeps the 4 KiB.
package recovery
