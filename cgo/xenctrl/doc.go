// Package xenctrl is the binding to Xen's control libraries (libxenctrl, libxenevtchn,
// libxenforeignmemory, libxenstore). It has what a hang monitor and a fault injector
// need: state of domains and vCPUs, foreign memory, vm_event rings, altp2m views,
// trace buffers and xenstore. It was written for Xen 4.20.
//
// # Building
//
// With the build tag xen, and cgo, the package calls the libraries. Without them it has
// the same API, and [Open] and [OpenStore] return an error that matches [ErrNotBuilt];
// so its users build with CGO_ENABLED=0. The ring protocol ([Event], [Response]) and
// the decoder of traces ([Record], [NPF]) are plain Go and work in both builds.
//
// # Use
//
// [Open] returns a [Xen]. [Xen.Domain] names one guest. [Domain.EnableMonitor] opens the
// guest's event ring as a [Monitor], whose loop is
//
//	for {
//		if _, err := m.Wait(timeout); err != nil { ... }
//		for m.Next(&ev) {
//			rsp := ev.Response()
//			... // read ev, set flags of rsp
//			if err := m.Respond(&rsp); err != nil { ... }
//		}
//		if err := m.Err(); err != nil { ... }
//	}
//
// Wait publishes the responses since its last call, notifies Xen once for all of them,
// and yields the CPU to the guest a few times. That is one call of C for each batch of
// events, and none for the events themselves. If no event comes, Wait sleeps in the
// kernel.
//
// # Ownership and threads
//
// Several goroutines may use a Xen at once. A Monitor, a [Trace] and a [Store] belong
// to one goroutine each, except for [Monitor.Interrupt]. None needs a thread of its own.
// The bytes of a [Mapping] are the guest's memory: they change while they are read, and
// they are gone after Close. Close a Xen after everything that was made from it.
//
// # Death of the process
//
// A process that dies while a monitor is enabled leaves vCPUs paused, stepping or in
// another altp2m view. [Domain.Recover] says what is left behind, and undoes it.
//
// # What it does not have
//
// A call that nothing in this project makes is not bound. The constants, flags and
// fields of Xen's interface are complete all the same, for the reader of a record or of
// an event. The layout of the ring and the numbers are those of Xen 4.20. What differs
// in the headers of Xen 4.17 to 4.22 is in compat.h, and what differs at run time in
// [Facts]. A test compares layout and numbers with the headers of the build. Another Xen
// has this layout if it builds and the test passes; that alone does not make recovery
// work, see [Facts].
//
// # Tests
//
// [New] and [NewStore] make handles on any [Hypervisor] and [StoreConn]. Package xentest
// has them in memory.
package xenctrl
