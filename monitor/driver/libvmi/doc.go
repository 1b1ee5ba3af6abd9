// Package libvmi is the monitor's driver on LibVMI: it gives a monitor.Session
// the guest through cgo/libvmi, for the same mechanisms and detectors as
// monitor/driver/xenctrl, and monitor/linux the guest's memory.
//
// LibVMI has no function for some of what the monitor asks for. That goes to
// libxenctrl, as it would have to in any program on LibVMI:
//
//   - the hypervisor's scheduling state of guest and vCPUs, and why a guest ended;
//   - what access a frame has, and which view a vCPU is in, with which a
//     mechanism proves that its trap is set.
//
// LibVMI takes the guest's event ring when it opens the guest. So the driver has
// one instance for memory and registers, without events, and Listen opens a
// second one with them. The memory instance may be used from any goroutine.
//
// LibVMI calls back for each event, so the ring is a monitor.Server.
package libvmi
