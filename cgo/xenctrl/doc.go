// Package xenctrl is the binding to Xen's control libraries (libxenctrl,
// libxenevtchn, libxenforeignmemory, libxenstore) that a hang monitor and a
// fault injector need: domain and vCPU state, foreign memory, vm_event rings,
// altp2m views, trace buffers and xenstore. It was written against Xen 4.20.
//
// # Building
//
// With the build tag xen (and cgo) the package calls the libraries. Without
// it the package has the same API and every constructor ([Open], [OpenStore])
// returns an error that matches [ErrNotBuilt], so that importers build with
// CGO_ENABLED=0. The ring protocol ([Event], [Response]) and the trace decoder
// ([Record], [NPF]) are plain Go and work in both builds.
//
// # Use
//
// [Open] gives a [Xen]; [Xen.Domain] names one guest. [Domain.EnableMonitor]
// gives the guest's event ring as a [Monitor], whose loop is
//
//	for {
//		if _, err := m.Wait(timeout); err != nil { ... }
//		for m.Next(&ev) {
//			rsp := ev.Response()
//			... // look at ev, set flags on rsp
//			if err := m.Respond(&rsp); err != nil { ... }
//		}
//		if err := m.Err(); err != nil { ... }
//	}
//
// Wait publishes the responses given since the last call, notifies Xen once for
// all of them and gives the guest a few turns of the CPU, in one C call: one
// transition into C for each batch of events, and none for the events themselves.
// If none comes then, the goroutine is parked in Go's poller.
//
// # Ownership and threads
//
// A Xen may be used by several goroutines at once. A Monitor, a [Trace] and a
// [Store] belong to one goroutine each, except for [Monitor.Interrupt]; none needs
// a thread of its own. Bytes of a [Mapping] are the guest's memory
// itself: they change under the reader and are gone after Close. Close what
// was made before closing the Xen it was made from.
//
// # What Xen does not undo by itself
//
// A process that dies with a monitor enabled leaves vCPUs paused, stepping or
// in another altp2m view; see [Domain.Recover] for what is left behind and how
// it is undone.
package xenctrl
