// Package dom0test is a control domain in memory, for tests of bench/dom0 and of what
// is built on it. It needs no Xen and no kernel image.
//
// [New] returns a dom0.Host on a fake Xen (cgo/xenctrl/xentest). A guest that is made
// there runs a small Linux: page tables, symbols, run queues and a task list in its
// memory, as monitor/linux reads them, and a heartbeat page that obeys (guests/beat).
// Its vCPUs call the scheduler's switch function again and again, so that every
// mechanism has something to trap.
//
// The guest does not hang: nothing of what scenarios/inject writes is executed. Time
// is dom0's own, not virtual.
package dom0test
